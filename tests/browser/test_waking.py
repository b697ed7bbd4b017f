"""What the script wakes: addresses of what loads, and never anything that runs because an attribute said so.

Sanitizers let `data-*` attributes through on the elements that they allow, and a site's own purposes are
allowed to everybody: what strangers write must not become code by being woken.
"""

from types import SimpleNamespace

import pytest
from werkzeug import Request, Response

from consent_middleware import ConsentPolicy, Registry
from consent_middleware.wsgi import ConsentMiddleware

RUN = "top.ran=1"
SVG = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' onload='top.postMessage(1,&quot;*&quot;)'/%3E"
HTML = "data:text/html,%3Cscript%3Etop.postMessage(1,&quot;*&quot;)%3C/script%3E"
ME = 'data-consent="essential"'
NOTHING_WAKES = {
    "unknown kind": f'<constructor {ME} data-href="javascript:{RUN}">x</constructor>',
    "link": f'<a {ME} data-href="javascript:{RUN}">x</a>',
    "link in capitals": f'<a {ME} data-href="JaVaScRiPt:{RUN}">x</a>',
    "link behind a blank": f'<a {ME} data-href=" javascript:{RUN}">x</a>',
    "link behind a control": f'<a {ME} data-href="&#1;javascript:{RUN}">x</a>',
    "link with a tab": f'<a {ME} data-href="java&#9;script:{RUN}">x</a>',
    "link with a break": f'<a {ME} data-href="java&#10;script&#13;:{RUN}">x</a>',
    "link to a document": f'<a {ME} data-href="{HTML}">x</a>',
    "link to a drawing": f'<a {ME} data-href="{SVG}">x</a>',
    "link to source": f'<a {ME} data-href="view-source:javascript:{RUN}">x</a>',
    "link to a file": f'<a {ME} data-href="filesystem:http://localhost/x">x</a>',
    "link to code for others": f'<a {ME} data-href="vbscript:{RUN}">x</a>',
    "link to no address": f'<a {ME} data-href="http://[">x</a>',
    "area": f'<map name="m"><area {ME} data-href="javascript:{RUN}" coords="0,0,9,9"></map>',
    "area of a drawing": f'<svg><a {ME} data-href="javascript:{RUN}"><text y="9">x</text></a></svg>',
    "formula": f'<math {ME} data-href="javascript:{RUN}"><mi>x</mi></math>',
    "frame": f'<iframe {ME} data-src="javascript:{RUN}"></iframe>',
    "frame of a document": f'<iframe {ME} data-src="{HTML}"></iframe>',
    "frame of a drawing": f'<iframe {ME} data-src="{SVG}"></iframe>',
    "frame of text": f'<iframe {ME} data-srcdoc="<script>{RUN}</script>"></iframe>',
    "plug-in": f'<embed {ME} data-src="javascript:{RUN}">',
    "plug-in of a drawing": f'<embed {ME} data-src="{SVG}">',
    "object": f'<object {ME} data-data="javascript:{RUN}"></object>',
    "object of a type": f'<object {ME} type="text/plain" data-data="{HTML}" data-src="{HTML}"></object>',
    "base": f'<base {ME} data-href="/evil/">',
    "handler": f'<img {ME} data-onerror="{RUN}" src="/nothing.png" data-onload="{RUN}">',
    "style": f'<p {ME} data-style="background: url(/evil/x.png)">x</p>',
    "form": f'<form {ME} data-action="javascript:{RUN}"><button data-formaction="javascript:{RUN}">x</button></form>',
    "button": f'<button {ME} type="text/plain" form="f" data-formaction="javascript:{RUN}">x</button>',
    "form with our names": f'<form {ME} data-href="javascript:{RUN}"><input name="localName"><input name="dataset"></form>',
    "use": f'<svg><use {ME} data-href="{SVG}#x"/></svg>',
    "use of code": f'<svg><use {ME} data-href="javascript:{RUN}"/></svg>',
    "animation": f'<svg><a><animate {ME} attributeName="href" data-href="#" data-values="javascript:{RUN}"/></a></svg>',
    "script that says no type": f'<script {ME} data-src="/evil/run.js"></script>',
    "script of data": f'<script type="application/json" {ME} data-type="text/javascript">{RUN}</script>',
    "script of a drawing": f'<svg><script type="text/plain" {ME} data-src="/evil/run.js">{RUN}</script></svg>',
    "picture": f'<img {ME} data-src="javascript:{RUN}">',
    "pictures": f'<img {ME} data-srcset="/pixel.svg 1x,javascript:{RUN} 2x">',
    "pictures without a blank": f'<img {ME} data-srcset="/pixel.svg 2x,,javascript:{RUN}">',
    "pictures with parentheses": f'<img {ME} data-srcset="/pixel.svg (a,b) 2x, javascript:{RUN} 3x">',
    "poster": f'<video {ME} data-poster="javascript:{RUN}"></video>',
    "source": f'<picture><source {ME} data-srcset="javascript:{RUN}"><img></picture>',
    "style sheet": f'<link rel="stylesheet" {ME} data-href="data:text/css,*{{}}">',
    "vendor and purpose": f'<a {ME} data-consent-vendor="none" data-href="/evil/">x</a>',
    "no purpose": '<a data-consent="__proto__ constructor" data-href="/evil/">x</a>',
}
SCRIPTS_WAKE_NOTHING = {
    "source of code": f'<script type="text/plain" {ME} data-src="data:text/javascript,{RUN}"></script>',
    "source of nothing": f'<script type="text/plain" {ME} data-src="javascript:{RUN}"></script>',
}
WAKES = {
    "link": ("a", "href", "/page"),
    "link of another host": ("a", "href", "https://other.example/"),
    "frame": ("iframe", "src", "/evil/frame"),
    "frame without a scheme": ("iframe", "src", "//127.0.0.1:1/"),
    "picture": ("img", "src", "pixel.svg"),
    "picture in the page": (
        "img",
        "src",
        "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==",
    ),
    "pictures": (
        "img",
        "srcset",
        "/pixel.svg, /pixel.svg?a,b 2x,/pixel.svg 3x , data:image/gif;base64,R0 4x",
    ),
    "picture made by a script": ("img", "src", "blob:http://127.0.0.1/1"),
    "poster": ("video", "poster", "/pixel.svg"),
    "film": ("video", "src", "blob:http://127.0.0.1/1"),
    "sound": ("audio", "src", "/sound.ogg"),
    "source": ("source", "srcset", "/pixel.svg"),
    "subtitles": ("track", "src", "/words.vtt"),
    "plug-in": ("embed", "src", "/evil/frame"),
    "style sheet": ("link", "href", "/evil/style.css"),
}
# Names and ids of strangers, which the document and the window then have as properties of their own.
NAMED = {
    "script": '<img name="currentScript" src="/evil/banner.js">',
    "mark": '<a id="consentBanner">x</a>',
    "address": f'<form name="baseURI"></form><a {ME} data-href="javascript:{RUN}">x</a>',
    "state of the page": '<img name="prerendering" src="/pixel.svg">',
    "parts of the page": '<img name="body" src="/pixel.svg"><form name="documentElement"></form>',
    "search": '<img name="querySelector" src="/pixel.svg"><img name="querySelectorAll" src="/pixel.svg">',
    "events": '<form name="addEventListener"></form><form name="dispatchEvent"></form>',
    "making": '<form name="importNode"></form><form name="createElement"></form>',
    "others": '<form name="referrer"></form><form name="visibilityState"></form>',
}
# Lists of pictures of which a reader that looks back takes more than the square of their length.
LONG = {
    "commas": "," * 20_000,
    "commas behind an address": "/pixel.svg" + "," * 20_000,
    "parentheses": "/pixel.svg " + "()" * 10_000 + "(" * 20_000,
    "addresses": "/a," * 5_000 + ", /b" * 5_000,
}
FILES = {
    "/evil/run.js": ("text/javascript", RUN),
    "/evil/frame": ("text/html", "<!doctype html><title>x</title>"),
    "/evil/style.css": ("text/css", ""),
    "/evil/state": ("application/json", '{"purposes":{"essential":true},"vendors":{},"cookies":{}}'),
    "/evil/banner": (
        "text/html",
        f"<div id=consent-banner hidden></div><img src=/nothing onerror='{RUN}'><script>{RUN}</script>",
    ),
    "/pixel.svg": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>"),
}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title></head><body>
<script>addEventListener("message", () => { window.ran = 1 });
const html = document.documentElement;
document.addEventListener("consent", () => { html.dataset.heard = 1 });</script>
<main>{markup}</main><script src="/consent/banner.js" defer></script></body></html>"""
# Every attribute in the page that is not one that waits, by the title of its part.
ATTRIBUTES = """(markup) => {
    const told = (root) => Object.fromEntries([...root.querySelectorAll('section[title]')].map((part) => [part.title,
        [...part.querySelectorAll('*')].filter((element) => !element.closest('.consent-placeholder'))
            .map((element) => [element.nodeName, ...[...element.attributes]
                .map(({ name, value }) => `${name}=${value}`)
                .filter((text) => !/^(data-|hidden)/.test(text)).sort()].join(' '))]));
    const served = document.createElement('template');
    served.innerHTML = markup;
    return [told(served.content), told(document)];
}"""


def parts(cases):
    return "".join(f'<section title="{name}">{markup}</section>' for name, markup in cases.items())


@pytest.fixture
def shown(serve_app, visit):
    """Shows a page that holds some markup, once the script has gone over it."""
    text = '[site]\nhosts = ["127.0.0.1"]\n[purposes.essential]\n[purposes.analytics]\n'
    policy = ConsentPolicy(Registry.from_text(text), secret_keys=["a key for the tests alone"])

    def show(markup):
        @Request.application
        def app(request):
            kind, text = FILES.get(request.path, ("text/html", PAGE.replace("{markup}", markup)))
            return Response(text, 404 if "nothing" in request.path else 200, mimetype=kind)

        visitor = visit(SimpleNamespace(url=serve_app(ConsentMiddleware(app, policy))))
        page = visitor.page
        page.goto("/")
        page.wait_for_selector("html[data-heard]", state="attached")
        # What browsers say of markup that they cannot load is not what is asked here.
        visitor.complaints.clear()
        return page

    return show


def press(page):
    """Follow every link, and let a question to the server go there and back twice."""
    page.evaluate(
        """async () => {
            const links = Document.prototype.querySelectorAll.call(document, 'main a, main area');
            for (const element of links)
                element.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
            for (const _ of [1, 2]) await fetch('/evil/frame').then(() => new Promise(requestAnimationFrame));
        }"""
    )


def test_nothing_runs(shown):
    """No attribute is woken that could run something, and nothing runs when the page is used."""
    markup = parts(NOTHING_WAKES)
    page = shown(markup)
    served, found = page.evaluate(ATTRIBUTES, markup)
    assert found.keys() == NOTHING_WAKES.keys()
    assert found == served
    press(page)
    assert page.evaluate("window.ran") is None


def test_scripts_come_from_addresses(shown):
    """A script that waits is loaded from where scripts may come from, not made of an attribute."""
    page = shown(parts(SCRIPTS_WAKE_NOTHING))
    press(page)
    assert page.evaluate("[...document.querySelectorAll('main script')].map((one) => one.src)") == ["", ""]
    assert page.evaluate("window.ran") is None


def test_addresses_are_woken(shown):
    """What loads from an address is woken as it was written."""
    page = shown(
        parts(
            {
                title: f'<{kind} {ME} data-{name}="{value}"></{kind}>'
                for title, (kind, name, value) in WAKES.items()
            }
        )
    )
    for title, (kind, name, value) in WAKES.items():
        element = page.locator(f"main section[title='{title}'] {kind}")
        assert element.get_attribute(name) == value, title
        assert element.get_attribute("data-consent") is None, title


@pytest.mark.parametrize("markup", NAMED.values(), ids=NAMED.keys())
def test_names_of_strangers(shown, markup):
    """An element with the name of something that the script uses is not taken for it."""
    page = shown(markup)
    press(page)
    assert page.evaluate("window.ran") is None
    assert page.locator("#consent-banner [data-consent-action=reject-all]").is_visible()


@pytest.mark.parametrize("long", LONG.values(), ids=LONG.keys())
def test_long_attributes_of_strangers(shown, long):
    """A long list of pictures is read in one go: what comes behind it on the page is woken, and the page works."""
    page = shown(f'<img {ME} data-srcset="{long}"><a {ME} data-href="/page">x</a>')
    assert page.locator("main a").get_attribute("href") == "/page"
    assert page.locator("#consent-banner [data-consent-action=reject-all]").is_visible()
