"""Shows the main job at work: what two ordinary apps send, and what reaches the browser.

`make demo` runs it. It starts the Flask and the FastAPI example on loopback, visits each with a cookie jar
before consent, after partial consent and after withdrawal, prints what happened, and goes on serving until
it is interrupted; with ONESHOT=1 it ends by itself.
"""

import contextlib
import json
import logging
import os
import secrets
import sys
import threading
import time
from http.cookiejar import Cookie, CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import uvicorn
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from consent_middleware import Decision

COLUMNS = "  {:<44} {:<52} {}"


class QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


def serve_wsgi(app: Flask) -> tuple[str, object]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.port}", app.wsgi_app


def serve_flask() -> tuple[str, object]:
    import flask_app

    return serve_wsgi(flask_app.app)


def serve_parenting() -> tuple[str, object]:
    from parenting import app

    return serve_wsgi(app.app)


def serve_fastapi() -> tuple[str, object]:
    import fastapi_app

    server = uvicorn.Server(uvicorn.Config(fastapi_app.app, port=0, log_level="warning", ws="none"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", fastapi_app.app


class Browser:
    """A visitor with a cookie jar, and a note of every decision on the way."""

    def __init__(self, url: str, middleware: object) -> None:
        self.url, self.jar, self.decisions = url, CookieJar(), list[Decision]()
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.jar))
        middleware.policy.on_decision = lambda decision, target: self.decisions.append(decision)

    def get(self, path: str) -> str:
        return self._opener.open(self.url + path).read().decode()

    def choose(self, **form: str | list[str]) -> None:
        offer = json.loads(self.get("/consent/offer"))["offer"]
        body = urlencode({**form, "offer": offer}, doseq=True).encode()
        self._opener.open(Request(self.url + "/consent/", body, {"Origin": self.url})).read()

    def visit(self, when: str) -> None:
        self.decisions.clear()
        self.get("/")
        print(f"\n  {when}")
        print(COLUMNS.format("left the app", "reached the browser", "why"))
        print(COLUMNS.format("-" * 44, "-" * 52, "-" * 18))
        for decision in self.decisions:
            print(
                COLUMNS.format(
                    short(decision.before, 44), short(decision.leaving or "-", 52), decision.reason
                )
            )
        print("  the browser now holds:", ", ".join(sorted(map(held, self.jar))))


def short(line: str, width: int) -> str:
    name, _, attributes = line.partition(";")
    lifetime = [part.strip() for part in attributes.split(";") if part.strip().lower().startswith("max-age")]
    text = "; ".join([name if len(name) < 25 else name[:22] + "...", *lifetime])
    return text if len(text) <= width else text[: width - 3] + "..."


def held(cookie: Cookie) -> str:
    if cookie.expires is None:
        return f"{cookie.name} (session)"
    return f"{cookie.name} ({(cookie.expires - time.time()) / 86_400:.0f} days)"


def show(title: str, url: str, middleware: object) -> None:
    print(f"\n{title} at {url}")
    browser = Browser(url, middleware)
    browser.visit("before consent")
    browser.choose(choice="save", purpose=["analytics"])
    browser.visit("after the visitor agreed to audience measurement alone")
    browser.choose(choice="withdraw")
    browser.visit("after the visitor withdrew")


def main() -> None:
    os.environ["CONSENT_SECRET_KEYS"] = secrets.token_urlsafe()
    print(
        "The demo signs with a key of its own that ends with it; a site keeps its keys in CONSENT_SECRET_KEYS."
    )
    logging.getLogger("consent_middleware").setLevel(logging.ERROR)
    servers = [("Flask", *serve_flask()), ("FastAPI", *serve_fastapi())]
    for server in servers:
        show(*server)
    if os.environ.get("ONESHOT"):
        return
    servers.append(("a parenting site with a full cookie policy", *serve_parenting()))
    print("\nStill serving; open them in a browser, and end with Ctrl-C:")
    for title, url, _ in servers:
        print(f"  {title}: {url}/ and {url}/consent/")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


if __name__ == "__main__":
    main()
