"""An ordinary request stays light: no I/O, no lock, and nothing of Werkzeug, Jinja2 or SQLAlchemy."""

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import weakref

from consent_middleware.asgi import ConsentMiddleware
from consent_middleware.exchange import exchange_of

PROBE = """
import builtins, os, socket, sys, threading
from consent_middleware import ConsentPolicy, Registry
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi
import asyncio

policy = ConsentPolicy(Registry.from_text('''
[[cookies]]
name = "_ga"
purpose = "analytics"
'''), secret_keys=["a key for the tests alone"])

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"_ga=1; Max-Age=9")]})
    await send({"type": "http.response.body"})

def wsgi(environ, start_response):
    start_response("200 OK", [("Set-Cookie", "_ga=1; Max-Age=9")])
    return []

async def send(message): pass

scope = {"type": "http", "method": "GET", "path": "/", "scheme": "https", "headers": [(b"cookie", b"_ga=1; a=b")]}
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "https", "HTTP_COOKIE": "_ga=1; a=b"}
asgi_app, wsgi_app = Asgi(app, policy), Wsgi(wsgi, policy)
import logging
logging.disable()
seen = []

def audit(event, args):
    if running and event.split(".")[0] in {"open", "socket", "subprocess", "sqlite3", "import", "os"}:
        seen.append((event, args))

async def main():
    global running
    running = True
    for _ in range(3):
        await asgi_app(scope, None, send)
        wsgi_app(dict(environ), lambda *args: None)
    running = False

running = False
sys.addaudithook(audit)
asyncio.run(main())
assert not seen, seen
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"werkzeug", "jinja2", "sqlalchemy", "click"}, loaded
"""


def test_no_io_and_nothing_heavy():
    """Three requests through each door open, connect and import nothing, and load no page or store."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROBE)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_no_lock(both_doors, visitors, monkeypatch):
    """No lock is taken between request and answer, except by logging on the first drop of a name."""
    taken = []
    real = threading.RLock, threading.Lock

    def counting(make):
        def lock():
            taken.append(make)
            return make()

        return lock

    for exchanges in both_doors:
        exchanges.run_lines("_ga=1", cookie=visitors["some"])
    monkeypatch.setattr(threading, "RLock", counting(real[0]))
    monkeypatch.setattr(threading, "Lock", counting(real[1]))
    frames = []

    def profile(frame, event, arg):
        if event == "c_call" and getattr(arg, "__name__", "") in {"acquire", "__enter__"}:
            frames.append(frame.f_code.co_filename)

    policy = both_doors[0].policy
    for exchanges in both_doors:
        sys.setprofile(profile)
        try:
            exchanges.run_lines(
                "_ga=1; Max-Age=63072000", "session=1", cookie=visitors["some"], policy=policy
            )
        finally:
            sys.setprofile(None)
    assert not [name for name in frames if "consent_middleware" in name]


def test_a_request_leaves_no_cycle(make_policy, visitors):
    """An ASGI exchange is gone when its request is, without the garbage collector."""
    exchanges = []

    async def app(scope, receive, send):
        exchanges.append(weakref.ref(exchange_of(scope)))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"_ga=1")]})
        await send({"type": "http.response.body"})

    async def send(message):
        pass

    headers = [(b"cookie", visitors["some"].encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "https", "headers": headers}
    gc.disable()
    try:
        asyncio.run(ConsentMiddleware(app, make_policy())(scope, None, send))
        left = [exchange() for exchange in exchanges]
    finally:
        gc.enable()
    assert left == [None]
