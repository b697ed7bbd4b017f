"""How many Python functions a request enters: a slow-down shows without a clock.

The app's own calls are subtracted. A number may be lowered; raise one only with its reason.
"""

import asyncio
import gc
import sys
from datetime import UTC, datetime

import pytest

from consent_middleware import Consent, ConsentPolicy, Registry
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

REGISTRY = """
[site]
hosts = ["www.example.com"]
[[cookies]]
name = "session"
purpose = "essential"
[[cookies]]
name = "_ga"
purpose = "analytics"
[[cookies]]
name = "ads_id"
purpose = "advertising"
"""
LINES = {
    "ordinary": [],
    "three lines": [
        "session=1; Path=/; HttpOnly",
        "_ga=1; Path=/; Max-Age=63072000",
        "ads_id=2; Path=/; Max-Age=9",
    ],
}
NOW = datetime.now(UTC)
MOST = {
    ("asgi", "ordinary"): 14,
    ("asgi", "three lines"): 26,
    ("wsgi", "ordinary"): 14,
    ("wsgi", "three lines"): 26,
}


def entered(run):
    """How many Python functions `run` enters."""
    count = 0

    def watch(frame, event, arg):
        nonlocal count
        count += event == "call"

    # What the garbage collector calls, and what runs in its wake, is none of the request's.
    before = sys.getprofile()
    gc.collect()
    gc.disable()
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def asgi(policy, cookie, lines):
    fields = [(b"content-type", b"text/html"), *((b"set-cookie", line.encode()) for line in lines)]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "scheme": "https",
        "headers": [(b"host", b"www.example.com"), (b"cookie", cookie.encode())],
    }

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        pass

    return [lambda app=app: asyncio.run(app(dict(scope), None, send)) for app in (app, Asgi(app, policy))]


def wsgi(policy, cookie, lines):
    fields = [("Content-Type", "text/html"), *(("Set-Cookie", line) for line in lines)]
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "www.example.com",
        "HTTP_COOKIE": cookie,
    }

    def app(environ, start_response):
        start_response("200 OK", list(fields))
        return []

    def start_response(status, headers):
        return None

    return [lambda app=app: app(dict(environ), start_response) for app in (app, Wsgi(app, policy))]


@pytest.mark.parametrize(("door", "kind"), MOST)
def test_few_functions_are_entered(door, kind):
    """A request of a visitor who was seen before enters few functions, the event loop's aside."""
    # Not at the tests' time: a clock of the site's own is two functions more.
    policy, now = ConsentPolicy(Registry.from_text(REGISTRY), secret_keys=["a key for the tests alone"]), NOW
    own = policy.consent_cookie(Consent(decided_at=now, version=1, purposes=["analytics"], id="x"), now)
    cookie = f"session=1; {own.partition(';')[0]}; _ga=GA1.1.1"
    bare, ours = {"asgi": asgi, "wsgi": wsgi}[door](policy, cookie, LINES[kind])
    for _ in range(3):
        ours()
    assert entered(ours) - entered(bare) <= MOST[door, kind]
