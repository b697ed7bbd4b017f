"""A site in Flask and in FastAPI that keeps trying to set every cookie, and a browser that visits it."""

import os
import shutil
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from chromium import NoChromium, launched

from consent_middleware import ConsentPolicy, Registry

HERE = Path(__file__).parent
CSP = "default-src 'none'; script-src 'self' 'nonce-n0nce'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; require-trusted-types-for 'script'"

REGISTRY = """
presets = ["flask"]
[site]
id = "browser"
name = "Example Magazine"
hosts = ["127.0.0.1", "localhost"]
contact = "privacy@example.com"
policy_updated = 2026-11-23
languages = ["en", "fr", "de", "es", "it", "nl", "pl", "pt"]
[vendors.google-analytics]
name = "Google Analytics"
privacy_url = "https://policies.google.com/privacy"
opt_out_url = "https://tools.google.com/dlpage/gaoptout"
[vendors.ads]
name = "Example Ads"
privacy_url = "https://ads.example/privacy"
[[cookies]]
name = "lang"
purpose = "preferences"
path = "/"
[[cookies]]
name = "_ga"
purpose = "analytics"
vendor = "google-analytics"
path = "/"
description = "Tells visitors apart."
data = ["random number"]
[[cookies]]
name = "_ga_*"
purpose = "analytics"
vendor = "google-analytics"
path = "/"
[[cookies]]
name = "ads_id"
purpose = "advertising"
vendor = "ads"
path = "/"
[[cookies]]
name = "share"
purpose = "social"
path = "/"
"""
COOKIES = [
    "session=s; Path=/; HttpOnly",
    "lang=fr; Path=/; Max-Age=9999999999",
    "_ga=1; Path=/; Max-Age=63072000; HttpOnly",
    "_ga_X=1; Path=/",
    "ads_id=1; Path=/; Max-Age=63072000",
    "share=1; Path=/",
    "undeclared=1; Path=/",
]
PARAGRAPH = "<p>Small changes kept up for a week or two tend to do more than large ones. <a href='/other'>More</a></p>"
TEMPLATE = dedent(
    """\
    <!doctype html>
    <html lang="en"><head><meta charset="utf-8"><title>Magazine</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    %(head)s</head><body>%(banner)s
    <main><h1>A magazine</h1>
    <script type="text/plain" data-consent="analytics" src="/first.js"></script>
    <script type="text/plain" data-consent="analytics" nonce="n0nce">document.documentElement.dataset.ran += " inline"</script>
    <script type="text/plain" data-consent-vendor="ads" src="/ads.js"></script>
    <iframe title="Feed" data-consent="social" data-src="/feed"></iframe>
    <img alt="" data-consent="advertising" data-src="/pixel.svg">
    %(text)s
    </main><footer>%(link)s</footer></body></html>
    """
)
INSTALLED = {
    "template": {"head": "", "banner": "{{ consent_banner() }}", "link": "{{ consent_settings_link() }}"},
    "inline": {
        "head": "",
        "banner": "{{ consent_banner(layout='inline') }}",
        "link": "{{ consent_settings_link() }}",
    },
    "script": {
        "head": "<script src='/consent/banner.js' defer></script>",
        "banner": "",
        "link": "<a class='consent-settings' href='/consent/'>Cookie settings</a>",
    },
}
FILES = {
    "/first.js": ("text/javascript", "document.documentElement.dataset.ran = 'first'"),
    "/ads.js": ("text/javascript", "document.documentElement.dataset.ads = 1"),
    "/feed": ("text/html", "<!doctype html><title>Feed</title><p>feed"),
    "/pixel.svg": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>"),
}


def template_of(way: str) -> str:
    return TEMPLATE % {**INSTALLED[way], "text": PARAGRAPH * 30}


def flask_app(policy):
    from flask import Flask, Response, make_response, render_template_string

    from consent_middleware.integrations.flask import init_app
    from consent_middleware.wsgi import ConsentMiddleware

    app = Flask("site")
    init_app(app)

    @app.get("/")
    @app.get("/<path:path>")
    def page(path=""):
        if f"/{path}" in FILES:
            kind, text = FILES[f"/{path}"]
            response = Response(text, mimetype=kind)
        else:
            way = path.partition("/")[0]
            response = make_response(
                render_template_string(template_of(way if way in INSTALLED else "template"))
            )
            response.headers["Content-Security-Policy"] = CSP
        for line in COOKIES:
            response.headers.add("Set-Cookie", line)
        return response

    return ConsentMiddleware(app, policy)


def fastapi_app(policy):
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import HTMLResponse
    from jinja2 import DictLoader, Environment
    from starlette.templating import Jinja2Templates

    from consent_middleware.asgi import ConsentMiddleware
    from consent_middleware.integrations.starlette import init_templates

    api = FastAPI(openapi_url=None)
    pages = {f"{way}.html": template_of(way) for way in INSTALLED}
    templates = Jinja2Templates(env=Environment(loader=DictLoader(pages), autoescape=True))
    init_templates(templates)

    @api.get("/{path:path}")
    def page(request: Request, path: str) -> Response:
        if f"/{path}" in FILES:
            kind, text = FILES[f"/{path}"]
            response = Response(text, media_type=kind)
        else:
            way = path.partition("/")[0]
            response: HTMLResponse = templates.TemplateResponse(
                request, f"{way if way in INSTALLED else 'template'}.html"
            )
            response.headers["Content-Security-Policy"] = CSP
        for line in COOKIES:
            response.headers.append("Set-Cookie", line)
        return response

    return ConsentMiddleware(api, policy)


def serve_wsgi(app):
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *arguments):
            pass

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        thread.join()
        server.server_close()

    return server.server_port, stop


def serve_asgi(app):
    import socket

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()

    def stop():
        server.should_exit = True
        thread.join()
        listener.close()

    return listener.getsockname()[1], stop


def policy_for(extra: str = "") -> ConsentPolicy:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ConsentPolicy(Registry.from_text(REGISTRY + extra), secret_keys=["a key for the tests alone"])


@dataclass
class Site:
    """A site that is being served."""

    url: str
    policy: ConsentPolicy


def missing(what: str):
    """A judge that is not there is a failure where tests are run to decide, and a reason to skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def served():
    """Serves the site as asked for, once for each way."""
    running = {}

    def serve(framework: str, extra: str = "") -> Site:
        if (framework, extra) not in running:
            policy = policy_for(extra)
            if framework == "flask":
                port, stop = serve_wsgi(flask_app(policy))
            else:
                port, stop = serve_asgi(fastapi_app(policy))
            running[framework, extra] = Site(f"http://127.0.0.1:{port}", policy), stop
        return running[framework, extra][0]

    yield serve
    for _, stop in running.values():
        stop()


@pytest.fixture
def serve_app():
    """Serves any WSGI app for one test, and says where."""
    stops = []

    def serve(app) -> str:
        port, stop = serve_wsgi(app)
        stops.append(stop)
        return f"http://127.0.0.1:{port}"

    yield serve
    for stop in stops:
        stop()


# Not for the session: while Playwright runs, so does its event loop, and asyncio.run() is refused.
@pytest.fixture(scope="module")
def chromium():
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(launched())
        except NoChromium as reason:
            missing(str(reason))
        yield browser


class Visitor:
    """One person at one browser; what goes wrong in the pages' scripts is kept."""

    def __init__(self, chromium, site, **options):
        self.site = site
        self.context = chromium.new_context(base_url=site.url, **options)
        self.scripted = options.get("java_script_enabled", True)
        self.context.set_default_timeout(5000)
        self.page = self.context.new_page()
        self.complaints = []
        self.requests = []
        self.page.on("console", lambda message: self._hear(message))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, message):
        if message.type in {"error", "warning"} and "favicon" not in str(message.location):
            self.complaints.append(message.text)

    def go(self, path="/"):
        self.page.goto(path)
        self.settle()
        return self.page

    def settle(self):
        """Wait until the banner's script, where there is one, has shown what it has to show."""
        if self.scripted and self.page.locator("script[src*='banner.js']").count():
            self.page.wait_for_selector("html[style*=consent-height]", state="attached")

    def jar(self) -> dict[str, dict]:
        """The browser's own cookie store, by its protocol."""
        session = self.context.new_cdp_session(self.page)
        cookies = session.send("Network.getAllCookies")["cookies"]
        session.detach()
        return {cookie["name"]: cookie for cookie in cookies}

    def act(self, action):
        """Press a button, and wait for all that follows."""
        button = self.page.locator(f"[data-consent-action={action}]").first
        if self.scripted and action != "choose" and self.page.locator("#consent-banner").count():
            button.click()
            self.page.wait_for_selector("#consent-banner[hidden]", state="attached")
        else:
            with self.page.expect_navigation():
                button.click()

    def state(self):
        return self.page.evaluate("fetch('/consent/state').then((answer) => answer.json())")


@pytest.fixture
def visit(chromium):
    """Lets somebody visit a site; ends by looking at what the scripts complained about."""
    visitors = []

    def arrive(site, **options):
        visitors.append(Visitor(chromium, site, **options))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.complaints for visitor in visitors if visitor.complaints] == []


@pytest.fixture(scope="session")
def packages():
    """The judges that come from npm; kept in a directory that is not committed."""
    directory = HERE / "node_modules"
    if not (directory / "axe-core").exists() or not (directory / "@duckduckgo").exists():
        npm = shutil.which("npm")
        if npm is None:
            missing("there is no npm to fetch axe and autoconsent with")
        command = [npm, "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
        if subprocess.run(command, cwd=HERE, capture_output=True, check=False, timeout=240).returncode:
            missing("npm could not fetch axe and autoconsent")
    return directory
