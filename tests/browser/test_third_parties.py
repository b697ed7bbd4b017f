"""Consent mode and vendors' tags in Chromium, under a strict policy with a nonce."""

import threading
from types import SimpleNamespace

import pytest

from consent_middleware import ConsentPolicy, Registry

REGISTRY = """
[site]
name = "Example Magazine"
hosts = ["127.0.0.1"]
contact = "privacy@example.com"
[purposes.essential]
[purposes.analytics]
[purposes.advertising]
[vendors.google-analytics]
name = "Google Analytics"
purposes = ["analytics"]
google_consent = ["analytics_storage"]
[vendors.google-ads]
name = "Google Ads"
purposes = ["advertising"]
google_consent = ["ad_storage", "ad_user_data", "ad_personalization"]
"""
CSP = (
    "default-src 'none'; script-src 'nonce-n0nce' 'strict-dynamic'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; frame-src 'self'; form-action 'self'; require-trusted-types-for 'script'"
)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Magazine</title>
{{ consent_mode(nonce="n0nce", microsoft="google-ads", matomo="google-analytics") }}
{{ consent_tag("google-analytics", src="/vendor/first.js", nonce="n0nce") }}
{{ consent_tag("google-analytics", src="/vendor/second.js", nonce="n0nce", type="module") }}
</head><body>
<main><h1>A magazine</h1>
{{ consent_tag("google-ads", src="/vendor/frame", kind="iframe", title="Advertisement") }}
{{ consent_tag("google-ads", src="/vendor/pixel.svg", srcset="/vendor/pixel2.svg 2x", kind="img", alt="") }}
</main><script src="/consent/banner.js" nonce="n0nce" defer></script></body></html>
"""
FILES = {
    "first.js": (
        "text/javascript",
        "window.found = Array.from(dataLayer, (entry) => entry[1]); document.documentElement.dataset.first = 1",
    ),
    "second.js": ("text/javascript", "document.documentElement.dataset.second = 1;"),
    "frame": ("text/html", "<!doctype html><title>Advertisement</title>"),
    "pixel.svg": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>"),
}
DENIED = {
    **dict.fromkeys(["ad_storage", "ad_user_data", "ad_personalization"], "denied"),
    **dict.fromkeys(["analytics_storage", "functionality_storage", "personalization_storage"], "denied"),
    "security_storage": "granted",
}
ANALYTICS = {"analytics_storage": "granted"}
ADS = dict.fromkeys(["ad_storage", "ad_user_data", "ad_personalization"], "granted")
DEFAULT = ["[object Arguments]", "consent", "default", DENIED]
QUEUES = """() => ({
    google: dataLayer.map((entry) => [Object.prototype.toString.call(entry), ...entry]),
    microsoft: uetq,
    matomo: _paq,
})"""
BEFORE = {
    "google": [DEFAULT],
    "microsoft": ["consent", "default", {"ad_storage": "denied"}],
    "matomo": [["requireCookieConsent"]],
}
AFTER = {
    "google": [DEFAULT, ["[object Arguments]", "consent", "update", ANALYTICS | ADS]],
    "microsoft": [*BEFORE["microsoft"], "consent", "update", {"ad_storage": "granted"}],
    "matomo": [*BEFORE["matomo"], ["setCookieConsentGiven"]],
}


@pytest.fixture
def site():
    """The site, and in `reached` what was loaded from its vendors, as the server saw it."""
    from flask import Flask, Response, render_template_string
    from werkzeug.serving import WSGIRequestHandler, make_server

    from consent_middleware.integrations.flask import init_app
    from consent_middleware.wsgi import ConsentMiddleware

    class Quiet(WSGIRequestHandler):
        def log(self, *arguments):
            pass

    app, reached = Flask("site"), []
    init_app(app)

    @app.get("/")
    def page():
        return Response(render_template_string(PAGE), headers={"Content-Security-Policy": CSP})

    @app.get("/vendor/<name>")
    def vendor(name):
        reached.append(name)
        kind, text = FILES[name]
        return Response(text, mimetype=kind)

    policy = ConsentPolicy(Registry.from_text(REGISTRY), secret_keys=["a key for the tests alone"])
    server = make_server("127.0.0.1", 0, ConsentMiddleware(app, policy), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", reached=reached)
    server.shutdown()
    thread.join()
    server.server_close()


UNTIL = """async (selector) => {
    const all = () => selector.every((one) => document.querySelector(one));
    while (!all() || [...document.images].some((image) => image.src && !image.complete))
        await new Promise(requestAnimationFrame);
}"""
SCRIPTS = ["html[data-first][data-second]"]
EVERYTHING = [*SCRIPTS, "iframe[src]", "img[src]"]


def test_accepting_without_a_reload(site, visit):
    """Nothing is loaded before the choice; after it each queue has its update, and only then the tags run."""
    visitor = visit(site)
    page = visitor.go()
    assert page.evaluate(QUEUES) == BEFORE
    page.evaluate("window.same = true")
    assert site.reached == []
    visitor.act("accept-all")
    page.evaluate(UNTIL, EVERYTHING)
    assert page.evaluate(QUEUES) == AFTER
    assert page.evaluate("[window.same, window.found]") == [True, ["default", "update"]]
    page.frame_locator("iframe").locator("title").wait_for(state="attached")
    assert set(site.reached) == set(FILES)


def test_coming_back(site, visit):
    """Who agreed before finds default, update and tags in the page, and the script repeats nothing."""
    visitor = visit(site)
    visitor.go()
    visitor.act("accept-all")
    page = visitor.go()
    page.evaluate(UNTIL, EVERYTHING)
    assert page.evaluate(QUEUES) == AFTER
    assert page.locator("[data-consent-vendor]").count() == 0


def test_refusing(site, visit):
    """Who refuses grants nothing to anybody, on this page and on the next."""
    visitor = visit(site)
    page = visitor.go()
    visitor.act("reject-all")
    assert page.evaluate(QUEUES) == BEFORE
    assert visitor.go().evaluate(QUEUES) == BEFORE
    assert site.reached == []


def test_one_vendor(site, visit):
    """Who agrees to one purpose lets its vendors in; the rest follows when it is granted, in an update of its own."""
    visitor = visit(site)
    page = visitor.go()
    choose = """async (purposes) => {
        const {offer} = await (await fetch("/consent/offer")).json();
        const body = JSON.stringify({choice: "save", purposes, offer});
        const headers = {"Content-Type": "application/json"};
        return (await fetch("/consent/", {method: "POST", headers, body})).status;
    }"""
    assert page.evaluate(choose, {"analytics": True}) == 200
    page = visitor.go()
    page.evaluate(UNTIL, SCRIPTS)
    partly = [DEFAULT, ["[object Arguments]", "consent", "update", ANALYTICS]]
    assert page.evaluate(QUEUES) == {**BEFORE, "google": partly, "matomo": AFTER["matomo"]}
    assert set(site.reached) == {"first.js", "second.js"}
    assert page.evaluate(choose, {"analytics": True, "advertising": True}) == 200
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    page.evaluate(UNTIL, EVERYTHING)
    added = ["[object Arguments]", "consent", "update", ADS]
    assert page.evaluate(QUEUES) == {**AFTER, "google": [*partly, added]}
