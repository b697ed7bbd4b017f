"""The WSGI door: environ and start_response, translated for the core and back (PEP 3333)."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from . import stages
from .engine import PROXY_FIELDS, engine_of, policy_for
from .exchange import Exchange
from .interface import check_app
from .policy import ConsentPolicy
from .request import KEY, mount_of, quoted

Environ = dict[str, Any]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

_SPECIAL = frozenset({"HTTP_CONSENT_TOKEN", "HTTP_SEC_GPC", "HTTP_DNT"})
_PROXIED = frozenset("HTTP_" + name.upper().replace("-", "_") for name in PROXY_FIELDS)
# What servers let an app send fields by, past start_response, given as (name, value) pairs.
_SENDERS = frozenset({"wsgi.early_hints", "gunicorn.http2.send_trailers"})


class ConsentMiddleware:
    """Wraps a WSGI app, outermost. `policy` is a ConsentPolicy or the path of a registry file."""

    def __init__(self, app: App, policy: ConsentPolicy | str | os.PathLike[str]) -> None:
        check_app(app, "WSGI")
        self.app = app
        self.policy = policy_for(app, policy)
        self._engine = engine_of(self.policy)

    def __repr__(self) -> str:
        return f"<{__name__}.ConsentMiddleware of {self.policy!r}>"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. The app's iterable goes back as it is: only its header fields concern us."""
        engine = self._engine
        if KEY in environ and engine.is_nested(environ):
            return self.app(environ, start_response)
        request = WsgiRequest(environ)
        exchange = Exchange(engine, request)

        def start_judged(status: str, headers: Any, exc_info: Any = None) -> Write:
            # A second call replaces the whole set, so each is judged from scratch, into a fresh list.
            if exchange.pending:
                exchange.settle()
            line, leaving = stages.status_line(exchange, status), stages.outgoing(exchange, status, headers)
            try:
                return start_response(line, leaving, exc_info) if exc_info else start_response(line, leaving)
            finally:
                exc_info = None

        if request.path.startswith(engine.page_starts) and engine.is_page(request):
            return _serve_page(environ, start_judged, exchange)
        # The server's own environ keeps the request as it came. Whoever calls again with it (repoze.retry,
        # error documents) is judged again, by the very same request; a nested call is one that got the copy.
        inner = {**environ, KEY: exchange}
        if exchange.cookies is not None or engine.hides_fields:
            _hide(inner, exchange)
        if not environ.keys().isdisjoint(_SENDERS):
            inner.update((key, _judging(environ[key], exchange)) for key in _SENDERS & environ.keys())
        return _run(self.app, environ, inner, start_judged, exchange)


class WsgiRequest:
    """What the middleware needs to know of a WSGI request: the server's own environ, which no app gets."""

    __slots__ = ("cookie", "is_plain", "method", "mount", "path", "secure", "target")

    def __init__(self, environ: Environ) -> None:
        self.target = environ
        path, root = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        # Where the mount is "/" the server may have taken the path's own slash for it.
        self.path: str = path if path.startswith("/") or not root.endswith("/") else f"/{path}"
        self.mount = mount_of(root.encode("latin-1", "replace")) if root else ""
        self.method: str = environ["REQUEST_METHOD"]
        self.secure: bool = environ["wsgi.url_scheme"] == "https"
        self.cookie: str = environ.get("HTTP_COOKIE", "")
        self.is_plain = environ.keys().isdisjoint(_SPECIAL)

    @property
    def full_path(self) -> str:
        """See `request.Request`."""
        return self.mount + quoted(self.path.encode("latin-1", "replace"))

    @property
    def is_proxied(self) -> bool:
        """See `request.Request`."""
        return not self.target.keys().isdisjoint(_PROXIED)

    def field(self, name: str) -> str:
        """See `request.Request`."""
        key = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
        value: str = self.target.get(key, "")
        return value.strip(" \t")


def _hide(environ: Environ, exchange: Exchange) -> None:
    """Take out of the app's environ what it may not see of the request."""
    if exchange.cookies is not None:
        environ["HTTP_COOKIE"] = exchange.cookies.visible
        if not environ["HTTP_COOKIE"]:
            del environ["HTTP_COOKIE"]
    for key in exchange.hidden_fields().keys & environ.keys():
        del environ[key]


def _judging(send: Callable[[list[Any]], object], exchange: Exchange) -> Callable[[Any], object]:
    """A server's callable that sends fields, to be called with those alone that may leave."""

    def send_judged(headers: Any) -> object:
        if exchange.pending:
            exchange.settle()
        leaving = stages.trailing(exchange, headers)
        return send(leaving) if leaving else None

    return send_judged


def _run(
    app: App, environ: Environ, inner: Environ, start_response: StartResponse, exchange: Exchange
) -> Iterable[bytes]:
    """Call the app, and hand on what it adds to its environ.

    Servers and outer middleware look for that in theirs: access logs for `REMOTE_USER`, eventlet for its
    settings. What was there stays as it came: it is the request.
    """
    last = next(reversed(inner))
    try:
        body = app(inner, start_response)
    except BaseException:
        exchange.finish()
        raise
    # A generator starts when its first piece is asked for: until then it is running.
    exchange.finish_if_started()
    # What is added to a dict stands last, however much was taken out.
    if next(reversed(inner), last) != last:
        environ.update((key, inner[key]) for key in inner.keys() - environ.keys() - {KEY})
    return body


def _serve_page(environ: Environ, start_response: StartResponse, exchange: Exchange) -> Iterable[bytes]:
    from .pages import respond  # noqa: PLC0415 - the request path never needs Werkzeug

    body: Iterable[bytes] = respond(environ, exchange)(environ, start_response)
    return body
