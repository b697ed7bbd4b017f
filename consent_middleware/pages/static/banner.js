// The consent banner on a page, and content that waits for consent. No dependency, no inline code.
// Fires a "consent" event on the document with the state as its detail: once known, and after each choice.
(() => {
  "use strict";
  // The document without the elements that strangers give a name, which come before what it has itself.
  const page = new Proxy(document, {
    get(target, name) {
      const value = Reflect.get(Document.prototype, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  // An element with our mark as its name is not the mark.
  const own = page.currentScript;
  if (!own || window.consentBanner === true) return;
  window.consentBanner = true;

  const base = new URL(".", own.src);
  const layout = own.dataset.layout || "sticky";
  const language = own.dataset.lang || "";
  const here = () => location.pathname + location.search;
  const find = (selector, root = page) => root.querySelector(selector);
  const GATED = "[data-consent],[data-consent-vendor]";
  const HTML = "http://www.w3.org/1999/xhtml";
  const WAKES = new Map(
    Object.entries({
      a: ["href"],
      area: ["href"],
      audio: ["src"],
      embed: ["src"],
      iframe: ["src"],
      img: ["src", "srcset"],
      link: ["href"],
      source: ["src", "srcset"],
      track: ["src"],
      video: ["src", "poster"],
    }),
  );
  const REMEMBERED = "consent-offer";
  let state = null;
  let queue = Promise.resolve();
  let wanted = null;
  let sending = false;

  const address = (part, query = {}) => {
    const url = new URL(part, base);
    if (language) url.searchParams.set("lang", language);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url;
  };

  async function ask(part, options = {}) {
    const answer = await fetch(address(part), {
      credentials: "same-origin",
      cache: "no-store",
      ...options,
      headers: { Accept: "application/json", ...options.headers },
    });
    if (!answer.ok) throw new Error(`consent: ${answer.status}`);
    return answer.json();
  }

  const post = (said) =>
    ask("", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(said),
    });

  // Content that waits

  const words = (text) => (text || "").split(/\s+/).filter(Boolean);

  function isAllowed(element) {
    const purposes = words(element.dataset.consent);
    const vendors = words(element.dataset.consentVendor);
    return (
      purposes.length + vendors.length > 0 &&
      purposes.every((id) => state.purposes[id] === true) &&
      vendors.every((id) => state.vendors[id] === true)
    );
  }

  // What strangers write on a page may have data attributes, so no address that runs as code is woken.
  // A drawing is harmless as a picture alone.
  function isAddress(value, picture) {
    try {
      const { protocol, href } = new URL(value, page.baseURI);
      return /^(https?|blob):$/.test(protocol) || (picture && href.startsWith("data:image/"));
    } catch {
      return false;
    }
  }

  // The addresses in a srcset (HTML, "parsing a srcset attribute"); a comma may be a part of one. Every match begins
  // where the first look finds it and none is given up, so that the work is that of the length.
  const CANDIDATE = /([^ \t\n\f\r,](?:[^ \t\n\f\r]*[^ \t\n\f\r,])?)(?:,+|[^,(]*(?:\([^)]*\)?[^,(]*)*)/g;

  function wakeAttributes(element) {
    const picture = /^(img|source|video)$/.test(element.localName);
    for (const name of WAKES.get(element.localName) || []) {
      const value = element.getAttribute(`data-${name}`);
      if (value === null) continue;
      const addresses = name === "srcset" ? Array.from(value.matchAll(CANDIDATE), (found) => found[1]) : [value];
      if (addresses.every((one) => isAddress(one, picture))) element.setAttribute(name, value);
    }
  }

  // The same element, put back with its type changed: it keeps its nonce, and no text becomes code here.
  function wakeScript(script) {
    const { parentNode, nextSibling } = script;
    script.remove();
    if (script.dataset.src) script.src = script.dataset.src;
    if (script.dataset.type) script.type = script.dataset.type;
    else script.removeAttribute("type");
    const waits = script.hasAttribute("src") && !script.hasAttribute("async");
    return new Promise((done) => {
      if (waits) {
        script.async = false;
        script.onload = script.onerror = done;
      }
      parentNode.insertBefore(script, nextSibling);
      if (!waits) done();
    });
  }

  function wake(element) {
    if (element instanceof HTMLScriptElement) {
      const { src = "" } = element.dataset;
      // One after another, as the page has them: later ones may need earlier ones.
      if (element.type === "text/plain" && isAddress(src, false))
        queue = queue.then(() => element.isConnected && wakeScript(element));
    } else if (element.namespaceURI === HTML) {
      wakeAttributes(element);
      if (/^(link|style)$/.test(element.localName) && element.type === "text/plain") element.removeAttribute("type");
      if (element.consentPlaceholder) {
        element.consentPlaceholder.remove();
        element.hidden = false;
      }
    }
    delete element.dataset.consent;
    delete element.dataset.consentVendor;
  }

  function hold(element) {
    const template = find("#consent-placeholder");
    if (!template || element.consentPlaceholder || !/^(iframe|img|video|embed|object)$/.test(element.localName)) return;
    const placeholder = copy(template);
    element.consentPlaceholder = placeholder;
    element.before(placeholder);
    element.hidden = true;
  }

  function sort(root) {
    for (const element of root.querySelectorAll(GATED)) (isAllowed(element) ? wake : hold)(element);
  }

  // What the scripts of vendors are told, once the page's own script has told them the rest

  const TELL = {
    google: (granted) => window.gtag?.("consent", "update", granted),
    microsoft: (granted) => window.uetq?.push("consent", "update", granted),
    matomo: () => window._paq?.push(["setCookieConsentGiven"]),
  };

  function tell() {
    const own = find("script[data-consent-signals]");
    const waiting = JSON.parse(own ? own.dataset.consentSignals : "{}");
    for (const [mode, signals] of Object.entries(waiting)) {
      const granted = {};
      for (const [signal, vendors] of Object.entries(signals)) {
        if (!vendors.every((id) => state.vendors[id] === true)) continue;
        granted[signal] = "granted";
        delete signals[signal];
      }
      if (Object.keys(granted).length) TELL[mode](granted);
    }
    if (own) own.dataset.consentSignals = JSON.stringify(waiting);
  }

  // The banner

  function copy(template) {
    const element = page.importNode(template.content, true).firstElementChild;
    for (const link of element.querySelectorAll("a")) {
      const url = new URL(link.href, location.href);
      url.searchParams.set("next", here());
      link.href = url;
    }
    return element;
  }

  // Read as a document, not by innerHTML: this works where a page demands trusted types.
  const load = (url) =>
    new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      request.open("GET", url);
      request.responseType = "document";
      request.onload = () => (request.status === 200 ? done(request.response) : fail(request.status));
      request.onerror = fail;
      request.send();
    });

  async function bring() {
    const banner = await load(address("banner", { layout }));
    const parts = [...banner.head.children, ...banner.body.children].map((part) => page.importNode(part, true));
    page.body.prepend(...parts);
    for (const field of page.querySelectorAll("#consent-banner [name=next]")) field.value = here();
  }

  function measure() {
    const banner = find("#consent-banner");
    new ResizeObserver(() => {
      const height = banner.hidden ? 0 : banner.offsetHeight;
      page.documentElement.style.setProperty("--consent-height", `${height}px`);
    }).observe(banner);
  }

  function close(word) {
    const banner = find("#consent-banner");
    const template = find("#consent-confirmation");
    banner.hidden = true;
    banner.replaceChildren();
    banner.dataset.consentState = word;
    if (!template) return;
    const confirmation = copy(template);
    find("[data-consent-close]", confirmation).onclick = () => confirmation.remove();
    banner.before(confirmation);
    find("[role=status]", confirmation).focus();
  }

  const lost = (before, after) =>
    before &&
    ["purposes", "vendors", "cookies"].some((kind) =>
      Object.keys(before[kind]).some((id) => before[kind][id] && !after[kind][id]),
    );

  function take(after) {
    // What runs already cannot be called back: only a fresh page is without it.
    if (lost(state, after)) return location.reload();
    state = after;
    tell();
    sort(page);
    page.dispatchEvent(new CustomEvent("consent", { detail: state }));
  }

  function setBusy(busy) {
    const mark = (element, name) => (busy ? element.setAttribute(name, "true") : element.removeAttribute(name));
    const banner = find("#consent-banner");
    mark(banner, "aria-busy");
    // Off for everybody, but not `disabled`: that takes the focus, and a change of mind would not be heard.
    for (const button of banner.querySelectorAll("[name=choice]")) mark(button, "aria-disabled");
  }

  // One at a time, so that each choice knows the one before it. What is pressed meanwhile waits for the answer; of
  // several the last counts, and what was given up is not acted on.
  async function send() {
    let sent, after, failure;
    do {
      sent = wanted;
      failure = null;
      after = await post(sent.said).catch((error) => (failure = error));
    } while (wanted.said.choice !== sent.said.choice);
    if (failure) throw failure;
    close(sent.said.choice === "accept-all" ? "granted" : "refused");
    take(after);
  }

  // The same without script: the server says what is wrong.
  function sendForm({ form, said }) {
    const field = page.createElement("input");
    Object.assign(field, { type: "hidden", name: "choice", value: said.choice });
    form.append(field);
    form.submit();
    field.remove();
  }

  async function say(said, form = null) {
    wanted = { said, form };
    if (sending) return;
    sending = true;
    setBusy(true);
    try {
      await send();
    } catch (error) {
      if (!wanted.form) throw error;
      sendForm(wanted);
    } finally {
      sending = false;
      setBusy(false);
    }
  }

  function choose(event) {
    const form = event.target;
    const button = event.submitter;
    if (!form.closest("#consent-banner") || !button || button.name !== "choice") return;
    event.preventDefault();
    say({ choice: button.value, offer: form.elements.offer.value }, form);
  }

  // Where the registry takes going on to another page of the site for a yes

  async function goOn() {
    const banner = find("#consent-banner[data-consent-acceptance=continued-browsing]");
    if (!banner || state.decided || page.visibilityState !== "visible") return;
    const shown = JSON.parse(sessionStorage.getItem(REMEMBERED) || "null");
    const [visit] = performance.getEntriesByType("navigation");
    const followed = page.referrer && new URL(page.referrer).origin === location.origin;
    if (shown && followed && visit && visit.type === "navigate" && shown.path !== location.pathname) {
      await say({ choice: "accept-all", offer: shown.offer, source: "continued-browsing" });
      sessionStorage.removeItem(REMEMBERED);
    } else {
      const offer = find("[name=offer]", banner).value;
      sessionStorage.setItem(REMEMBERED, JSON.stringify({ offer, path: location.pathname }));
    }
  }

  async function start() {
    page.addEventListener("submit", choose);
    const present = find("#consent-banner");
    const [now] = await Promise.all([ask("state"), present ? null : bring()]);
    measure();
    take(now);
    new MutationObserver((changes) => {
      if (changes.some((change) => change.addedNodes.length)) sort(page);
    }).observe(page.documentElement, { childList: true, subtree: true });
    // A page that comes back from the history may be older than the visitor's choice.
    window.addEventListener("pageshow", async (event) => event.persisted && take(await ask("state")));
    await goOn();
  }

  const begin = () => start().catch((error) => console.warn(error));
  if (page.prerendering) page.addEventListener("prerenderingchange", begin, { once: true });
  else begin();
})();
