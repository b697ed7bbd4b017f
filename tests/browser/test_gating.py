"""A real browser before six third parties on loopback: who was reached is read from their own logs."""

import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.gating import Gate, Recipient
from consent_middleware.core.permissions import Grounds, permissions_on
from consent_middleware.core.registry import Gating, LocalizedText, Purpose, Registry, Vendor
from consent_middleware.core.reports import read_reports

NAMES = ("tags", "pixels", "ads", "buttons", "fonts", "chat")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENCE = 20
"""Seconds until a browser that does not do what a test waits for is given up; nothing is slower for it."""

EVERY_KIND = {
    *("script", "worker", "module", "img", "css", "import", "font", "media", "object", "frame", "srcdoc"),
    *("fetch", "beacon", "ping", "socket", "stream", "blob", "preload", "prefetch", "hint", "redirect"),
}
"""What the page tries with each third party; `hint` is a Link header, `redirect` goes by way of the site."""

PAGE = """<!doctype html><title>page</title><script nonce=abc>window.inline = true</script>
<style nonce=abc>body { color: rgb(1, 2, 3) }</style><script nonce=abc src=/page.js></script><body>"""

SCRIPT = """
const blocked = new Set();
document.addEventListener(
    "securitypolicyviolation", event => blocked.add(event.blockedURI + " " + event.effectiveDirective)
);
const add = (name, attributes) => new Promise(done => {
    const element = Object.assign(document.createElement(name), attributes);
    element.onload = element.onerror = element.onloadeddata = done;
    (name == "link" ? document.head : document.body || document.documentElement).append(element);
});
const until = (target, ...names) => new Promise(done => names.forEach(n => target.addEventListener(n, done)));
const asWorker = code => new Promise(done => {
    const worker = new Worker(URL.createObjectURL(new Blob([code + ";postMessage(1)"])));
    worker.onmessage = worker.onerror = done;
});
const load = origin => {
    const ws = new WebSocket(origin.replace("http", "ws") + "/socket");
    const stream = new EventSource(origin + "/stream");
    navigator.sendBeacon(origin + "/beacon", "x");
    const face = new FontFace("f", `url(${origin}/font)`);
    const media = Object.assign(document.createElement("video"), {src: origin + "/media"});
    const link = Object.assign(document.createElement("a"), {ping: origin + "/ping", href: "#here"});
    document.documentElement.append(link); link.click();
    return Promise.all([
        add("script", {src: origin + "/script"}),
        add("img", {src: origin + "/img"}),
        add("iframe", {src: origin + "/frame"}),
        add("object", {data: origin + "/object"}),
        add("link", {rel: "stylesheet", href: origin + "/css"}),
        add("link", {rel: "stylesheet", href: "/import.css?" + origin}),
        add("link", {rel: "preload", as: "image", href: origin + "/preload"}),
        add("link", {rel: "modulepreload", href: origin + "/module"}),
        add("link", {rel: "prefetch", href: origin + "/prefetch"}),
        add("img", {src: "/redirect?" + origin}),
        add("iframe", {srcdoc: `<img src="${origin}/srcdoc">`}),
        asWorker(`importScripts("${origin}/worker")`),
        asWorker(`fetch("${origin}/blob", {mode: "no-cors"}).catch(() => 0)`),
        face.load().catch(() => 0),
        fetch(origin + "/fetch", {mode: "no-cors"}).catch(() => 0),
        until(ws, "error", "close"),
        until(stream, "error").then(() => stream.close()),
        until(media, "error", "loadeddata"),
    ]);
};
window.own = async () => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/own-socket");
    await until(socket, "error", "close");
    await add("img", {src: "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="});
    await asWorker("fetch('data:text/plain,x')");
    await add("iframe", {srcdoc: "<p>", name: "framed"});
    const runs = action => { try { return Boolean(action()); } catch { return false; } };
    const answers = {
        inline: window.inline === true,
        style: getComputedStyle(document.body).color == "rgb(1, 2, 3)",
        eval: runs(() => eval("1 + 1")),
        wasm: runs(() => new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))),
    };
    return [answers, [...blocked]];
};
window.inWorker = origins => new Promise(done => {
    const worker = new Worker("/worker.js");
    worker.onmessage = done;
    worker.postMessage(origins);
}).then(() => true);
window.everything = origins => Promise.all(origins.map(load)).then(() => [...blocked]);
"""


WORKER = """onmessage = async e => {
    for (const origin of e.data) await fetch(origin + "/fetch", {mode: "no-cors"}).catch(() => 0);
    postMessage("done");
}"""


class Log:
    """What a server was asked for, and by whom."""

    def __init__(self):
        self.asked, self._changed = [], threading.Condition()

    def add(self, path):
        with self._changed:
            self.asked.append(path)
            self._changed.notify_all()

    def clear(self):
        with self._changed:
            self.asked.clear()

    def kinds(self):
        with self._changed:
            return {path.strip("/").partition("?")[0] for path in self.asked}

    def wait(self, kinds):
        with self._changed:
            return self._changed.wait_for(
                lambda: kinds <= {path.strip("/").partition("?")[0] for path in self.asked}, PATIENCE
            )


@contextmanager
def serving(respond):
    """A server that logs each request before it answers as `respond(handler)` does."""
    log = Log()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            self.posted = self.rfile.read(length)
            log.add(self.path)
            respond(self)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

        def answer(self, status, headers, body=b""):
            self.send_response_only(status)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield log, server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def third_party(handler):
    types = {
        "/script": "text/javascript",
        "/css": "text/css",
        "/worker": "text/javascript",
        "/frame": "text/html",
    }
    headers = [("Content-Type", types.get(handler.path, "image/png")), ("Set-Cookie", "id=1; Max-Age=9999")]
    handler.answer(200, [*headers, ("Access-Control-Allow-Origin", "*"), ("Cache-Control", "no-store")])


class Scene:
    """One site, six third parties and a browser. What a test sets is in force from the next answer on."""

    def __init__(self, own, port, parties):
        self.own, self.site = own, f"http://www.localhost:{port}"
        self.logs = {name: log for name, (log, _) in parties.items()}
        self.hosts = {name: f"{name}.localhost:{port}" for name, (_, port) in parties.items()}
        self.origins = [f"http://{host}" for host in self.hosts.values()]
        self.policies, self.mode, self.granted, self.purposes = (), "enforce", (), ()
        self.declares_hosts = True
        self.reported = Log()
        for log in (own, *self.logs.values()):
            log.clear()

    def respond(self, handler):
        path, _, query = handler.path.partition("?")
        if path == "/consent/report":
            for report in read_reports(handler.posted, handler.headers["Content-Type"]):
                self.reported.add(report.host)
        answers = {
            "/": (200, [("Content-Type", "text/html"), *self.page_headers()], PAGE),
            "/page.js": (200, [("Content-Type", "text/javascript")], SCRIPT),
            "/worker.js": (200, [("Content-Type", "text/javascript")], WORKER),
            "/import.css": (200, [("Content-Type", "text/css")], f"@import url({query}/import);"),
            "/redirect": (302, [("Location", f"{query}/redirect")], ""),
        }
        status, headers, body = answers.get(path, (204, [], ""))
        handler.answer(status, self.gated(status, headers, handler.headers), body.encode())

    def page_headers(self):
        links = [f"<{origin}/hint>; rel=preload; as=script" for origin in self.origins]
        return [
            ("Link", ", ".join(links)),
            *(("Content-Security-Policy", policy) for policy in self.policies),
        ]

    def gated(self, status, headers, request):
        """The headers as the middleware would send them."""
        registry = Registry(
            purposes={name: Purpose(id=name, title=LocalizedText()) for name in (*NAMES, *self.purposes)},
            vendors={
                name: Vendor(id=name, name=LocalizedText.of(name), purposes=(name,), hosts=(host,))
                for name, host in self.hosts.items()
                if self.declares_hosts
            },
            gating=Gating(mode=self.mode),
        )
        grounds = Grounds(purposes=tuple(sorted(self.granted)), version=1, live=True)
        recipient = Recipient(
            permissions=permissions_on(compile_registry(registry), grounds),
            host=request["Host"],
            destination=request.get("Sec-Fetch-Dest", ""),
            report_uri="/consent/report",
        )
        return Gate(registry).response_headers(status, headers, recipient)

    def load_everything(self, page):
        """Load the page and let it try every kind of request towards everybody, until each has ended."""
        page.goto(self.site + "/")
        page.evaluate("origins => everything(origins)", self.origins)

    def reached(self):
        """The third parties that anything came to, with what it was."""
        return {name: log.kinds() for name, log in self.logs.items() if log.kinds()}


@pytest.fixture(scope="module")
def servers():
    """The logs and ports of all servers, and a list whose last entry is the scene that is played."""
    scenes = []
    with ExitStack() as stack:
        parties = {name: stack.enter_context(serving(third_party)) for name in NAMES}

        def respond(handler):
            scenes[-1].respond(handler)

        own, port = stack.enter_context(serving(respond))
        yield scenes, (own, port, parties)


@pytest.fixture
def scene(servers):
    scenes, parts = servers
    scenes.append(Scene(*parts))
    return scenes[-1]


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    yield context.new_page()
    context.close()


POLICIES = {
    "none": lambda hosts: (),
    "strict": lambda hosts: (
        f"default-src 'self' blob: {hosts} {hosts.replace(' ', ' ws://')}; object-src *; img-src http:",
    ),
    "nonce": lambda hosts: ("script-src 'nonce-abc' 'strict-dynamic' blob:; base-uri 'none'",),
}
"""The app's own policies: none, one that lists all third parties, and one of nonces."""


@pytest.fixture(params=POLICIES)
def policed(request, scene):
    """The scene under each of the app's own policies."""
    scene.policies = POLICIES[request.param](" ".join(["", *scene.hosts.values()]).strip())
    return scene


def test_without_gating_everybody_is_reached(scene, page):
    """The page is a fair trial: left alone, it reaches each third party in every way."""
    scene.mode = "off"
    scene.load_everything(page)
    for log in scene.logs.values():
        assert log.wait(EVERY_KIND), EVERY_KIND - log.kinds()


def test_nothing_granted(policed, page):
    """Without consent no third party sees a single request, whatever the app's own policy."""
    policed.load_everything(page)
    assert policed.reached() == {}


def test_one_granted(policed, page):
    """With one vendor granted exactly that one is reached, in every way that the app's own policy leaves."""
    policed.granted = ("ads",)
    policed.load_everything(page)
    assert policed.logs["ads"].wait(EVERY_KIND), EVERY_KIND - policed.logs["ads"].kinds()
    assert set(policed.reached()) == {"ads"}


def test_after_withdrawal(scene, page):
    """The page that is loaded after a withdrawal reaches nobody any more."""
    scene.granted = NAMES
    scene.load_everything(page)
    assert all(log.wait(EVERY_KIND) for log in scene.logs.values())
    page.goto("about:blank")
    for log in scene.logs.values():
        log.clear()
    scene.granted = ()
    scene.load_everything(page)
    assert scene.reached() == {}


def test_scripts_of_workers(scene, page):
    """A worker lives under the policy of its own script: it reaches whom the visitor allows."""
    scene.granted = ("chat",)
    page.goto(scene.site + "/")
    assert page.evaluate("origins => inWorker(origins)", scene.origins)
    assert set(scene.reached()) == {"chat"}
    assert "fetch" in scene.logs["chat"].kinds()


@pytest.mark.parametrize(
    ("policy", "runs"), [(None, True), ("script-src 'nonce-abc'; worker-src blob:", False)]
)
def test_what_the_app_allows_itself_still_works(scene, page, policy, runs):
    """Inline code, eval, local schemes and own websockets are as the app's own policy has them."""
    scene.policies = (policy,) if policy else ()
    page.goto(scene.site + "/")
    answers, blocked = page.evaluate("own()")
    assert answers == {"inline": True, "style": True, "eval": runs, "wasm": runs}
    assert {text for text in blocked if "eval" not in text} == set()
    assert "own-socket" in scene.own.kinds()


@pytest.mark.parametrize("granted", [(), ("device",), ("advertising",)])
def test_the_browser_has_nothing_to_complain_of(scene, page, granted):
    """The browser knows every feature that is shut, so its console stays empty."""
    scene.purposes, scene.granted, said = ("device", "advertising"), granted, []
    page.on("console", lambda message: said.append(message.text))
    answer = page.goto(scene.site + "/")
    assert "permissions-policy" in answer.headers
    page.evaluate("console.log('the end')")
    page.wait_for_function("window.inline")
    assert [text for text in said if "Permissions-Policy" in text or "feature" in text] == []
    assert "the end" in said


@pytest.mark.parametrize("declares_hosts", [True, False])
def test_report_mode_detects_and_changes_nothing(scene, page, declares_hosts):
    """In report mode everything is reached, and the site hears from the browser of whom, declared or not."""
    scene.mode, scene.declares_hosts = "report", declares_hosts
    scene.load_everything(page)
    assert all(log.wait(EVERY_KIND) for log in scene.logs.values())
    assert scene.reported.wait({f"{name}.localhost" for name in NAMES})
