"""What the middleware adds to a request, in one run: interleaved rounds, medians, ratios.

Bare app, a wrapper that does nothing, ours, and a session, for a known and a never-seen visitor, with no and
three Set-Cookie lines. Ratios are to the time that the session adds to the bare app with the same answer.

Over ASGI the session is Starlette's SessionMiddleware. WSGI has no session middleware that is in wide use, and
Flask's sessions come with Flask alone. So the same steps as Starlette's are done there with what Flask would
use: cookies read by Werkzeug, the session verified and signed by itsdangerous. Both write the session on every
answer. A never-seen visitor's session is written only, so there the session has half of its work to do.
"""

import asyncio
import base64
import json
import statistics
import sys
import time
from datetime import UTC, datetime

import itsdangerous
from starlette.middleware.sessions import SessionMiddleware
from werkzeug.http import parse_cookie

from consent_middleware import Consent, ConsentPolicy, Registry
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

SECRET = "a key for the benchmark alone"
ROUNDS, REQUESTS = 41, 400
REGISTRY = """
presets = ["flask"]
[site]
hosts = ["www.example.com"]
[[cookies]]
name = "_ga"
purpose = "analytics"
[[cookies]]
name = "ads_id"
purpose = "advertising"
"""
BROWSER = {
    "host": "www.example.com",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.9,fr;q=0.8",
    "accept-encoding": "gzip, deflate, br, zstd",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "upgrade-insecure-requests": "1",
}
LINES = {
    0: [],
    3: [
        "session=eyJ1c2VyIjoxfQ.aSMxyw.V4wDOmDQx1; HttpOnly; Path=/; SameSite=Lax",
        "_ga=GA1.1.1234567890.1763900000; Path=/; Max-Age=63072000",
        "ads_id=0123456789abcdef; Path=/; Max-Age=315360000",
    ],
}


def asgi_app(lines):
    fields = [(b"content-type", b"text/html"), (b"content-length", b"2")]
    fields += [(b"set-cookie", line.encode()) for line in lines]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


def wsgi_app(lines):
    fields = [
        ("Content-Type", "text/html"),
        ("Content-Length", "2"),
        *(("Set-Cookie", line) for line in lines),
    ]

    def app(environ, start_response):
        start_response("200 OK", list(fields))
        return [b"ok"]

    return app


def asgi_idle(app):
    async def wrapper(scope, receive, send):
        async def passing(message):
            await send(message)

        await app(scope, receive, passing)

    return wrapper


def wsgi_idle(app):
    def wrapper(environ, start_response):
        def passing(status, headers, exc_info=None):
            return start_response(status, headers)

        return app(environ, passing)

    return wrapper


class WsgiSession:
    """The same session as Starlette's, as WSGI: verified and read, written and signed."""

    def __init__(self, app):
        self.app, self.signer = app, itsdangerous.TimestampSigner(SECRET)

    def __call__(self, environ, start_response):
        jar = parse_cookie(environ.get("HTTP_COOKIE", ""))
        session = {}
        if "session" in jar:
            data = self.signer.unsign(jar["session"], max_age=1209600)
            session = json.loads(base64.b64decode(data))
        session["user"] = 1

        def start(status, headers, *args):
            data = self.signer.sign(base64.b64encode(json.dumps(session).encode())).decode()
            headers.append(("Set-Cookie", f"session={data}; path=/; Max-Age=1209600; httponly; samesite=lax"))
            return start_response(status, headers, *args)

        return self.app(environ, start)


def starlette_session(app):
    async def logged_in(scope, receive, send):
        scope["session"]["user"] = 1
        await app(scope, receive, send)

    return SessionMiddleware(logged_in, SECRET)


def cookies(policy, visitor):
    now = datetime.now(UTC)
    session = itsdangerous.TimestampSigner(SECRET).sign(base64.b64encode(b'{"user": 1}')).decode()
    if visitor == "never seen":
        return ""
    granted = Consent(decided_at=now, version=1, purposes=["analytics"], id="0123456789abcdef")
    return f"session={session}; {policy.consent_cookie(granted, now).partition(';')[0]}; _ga=GA1.1.1234567890.1763900000"


def asgi_timer(app, cookie):
    fields = [(name.encode(), value.encode()) for name, value in BROWSER.items()]
    fields += [(b"cookie", cookie.encode())] if cookie else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "scheme": "https",
        "query_string": b"",
        "headers": fields,
    }

    async def send(message):
        pass

    async def rounds():
        start = time.perf_counter()
        for _ in range(REQUESTS):
            await app(dict(scope), None, send)
        return time.perf_counter() - start

    return lambda: asyncio.run(rounds())


def wsgi_timer(app, cookie):
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in BROWSER.items()}
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "https"}
    environ |= {"HTTP_COOKIE": cookie} if cookie else {}

    def start_response(status, headers, exc_info=None):
        return None

    def rounds():
        start = time.perf_counter()
        for _ in range(REQUESTS):
            app(dict(environ), start_response)
        return time.perf_counter() - start

    return rounds


DOORS = {
    "ASGI": (asgi_app, asgi_idle, Asgi, starlette_session, asgi_timer),
    "WSGI": (wsgi_app, wsgi_idle, Wsgi, WsgiSession, wsgi_timer),
}


def main():
    policy = ConsentPolicy(Registry.from_text(REGISTRY), secret_keys=[SECRET])
    print(
        f"Python {sys.version.split()[0]}, medians of {ROUNDS} interleaved rounds of {REQUESTS} requests, in µs"
    )
    print(
        f"{'door':5} {'visitor':11} {'lines':>5} {'bare':>7} {'idle +':>7} {'session +':>9} {'ours +':>7} {'ratio':>6}"
    )
    for door, (app_of, idle, ours, session, timer) in DOORS.items():
        for visitor in ("known", "never seen"):
            for count, lines in LINES.items():
                app, cookie = app_of(lines), cookies(policy, visitor)
                kinds = {"bare": app, "idle": idle(app), "session": session(app), "ours": ours(app, policy)}
                timers = {kind: timer(wrapped, cookie) for kind, wrapped in kinds.items()}
                times = {kind: [] for kind in kinds}
                for _ in range(ROUNDS):
                    for kind, run in timers.items():
                        times[kind].append(run() / REQUESTS * 1e6)
                bare = statistics.median(times["bare"])
                added = {kind: statistics.median(times[kind]) - bare for kind in ("idle", "session", "ours")}
                ratio = added["ours"] / added["session"]
                print(
                    f"{door:5} {visitor:11} {count:5} {bare:7.1f} {added['idle']:7.1f}"
                    f" {added['session']:9.1f} {added['ours']:7.1f} {ratio:6.2f}"
                )


if __name__ == "__main__":
    import logging

    logging.disable()
    main()
