"""An ordinary request stays light: no I/O, no lock, and nothing of Werkzeug, Jinja2 or SQLAlchemy."""

import asyncio
import gc
import subprocess
import sys
import textwrap
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


# Locks are replaced before anything of ours is imported, so that those made at import are seen too.
LOCKS = """
import functools, os, sys, threading, traceback, _thread
real = {name: getattr(_thread, name) for name in ("allocate_lock", "RLock")}
taken = []

class Watched:
    def __init__(self, make):
        self.lock = make()
    def acquire(self, *args, **kwargs):
        frame = sys._getframe()
        while frame is not None:
            if f"{os.sep}consent_middleware{os.sep}" in frame.f_code.co_filename:
                taken.append("".join(traceback.format_stack(limit=6)))
                break
            frame = frame.f_back
        return self.lock.acquire(*args, **kwargs)
    def __enter__(self):
        self.acquire()
        return self
    def __exit__(self, *exception):
        self.lock.release()
    def __getattr__(self, name):
        return getattr(self.lock, name)

threading.Lock = threading._allocate_lock = _thread.allocate_lock = lambda: Watched(real["allocate_lock"])
threading.RLock = functools.RLock = _thread.RLock = lambda: Watched(real["RLock"])
"""


def test_no_lock():
    """No lock is taken between request and answer, once the first drop of a name is logged."""
    check = """
taken.clear()
asyncio.run(main())
assert not taken, taken[0]
lock, clock = threading.Lock(), policy.clock
def locking():
    with lock:
        return clock()
policy.clock = locking
asyncio.run(main())
assert taken, "a lock that is taken is not seen"
"""
    script = LOCKS + textwrap.dedent(PROBE) + check
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


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
