"""The WSGI door: environ and start_response, translated for the core and back (PEP 3333)."""

import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from .exchange import Exchange, as_pairs, as_text, as_texts
from .policy import ConsentPolicy, policy_for
from .request import KEY, PATH_LETTERS, RequestConsent, mount_of

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class ConsentMiddleware:
    """Wraps a WSGI app, outermost. `policy` is a ConsentPolicy or the path of a registry file."""

    def __init__(self, app: App, policy: ConsentPolicy | str | os.PathLike[str]) -> None:
        self.app = app
        self.policy = policy_for(app, policy)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. The app's iterable goes back as it is: only its header fields concern us."""
        if self.policy.is_nested(environ):
            return self.app(environ, start_response)
        request = WsgiRequest(environ)
        exchange = Exchange(self.policy, request)

        def start_judged(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            # A second call replaces the whole set, so each is judged from scratch, into a fresh list.
            if exchange.is_unsettled:
                exchange.settle()
            leaving, line = self._judged(status, headers, exchange), exchange.status_line(status)
            try:
                return start_response(line, leaving, exc_info) if exc_info else start_response(line, leaving)
            finally:
                exc_info = None

        hides = bool(request.cookie) and exchange.hides_cookies()
        if self.policy.is_page(request.path):
            return _serve_page(environ, start_judged, exchange)
        inner = _inner_environ(environ, exchange, hides=hides)
        return _run(self.app, environ, inner, start_judged, exchange)

    def _judged(self, status: str, headers: Any, exchange: Exchange) -> list[tuple[Any, ...]]:
        fields = as_pairs(headers)
        if exchange.can_pass_through and self.policy.enforcer.passes(fields):
            exchange.started = True
            return fields
        texts = as_texts(fields)
        leaving: list[Any] = exchange.outgoing(_code(as_text(status)), texts)
        return fields if self.policy.observing and leaving == texts else leaving


class WsgiRequest:
    """What the middleware needs to know of a WSGI request."""

    __slots__ = ("cookie", "mount", "path", "target")

    def __init__(self, environ: Environ) -> None:
        self.target = environ
        path, root = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        # Where the mount is "/" the server may have taken the path's own slash for it.
        self.path: str = path if path.startswith("/") or not root.endswith("/") else f"/{path}"
        self.mount = mount_of(root.encode("latin-1", "replace")) if root else ""
        self.cookie: str = environ.get("HTTP_COOKIE", "")

    @property
    def method(self) -> str:
        """See `request.Request`."""
        method: str = self.target["REQUEST_METHOD"]
        return method

    @property
    def full_path(self) -> str:
        """See `request.Request`."""
        return self.mount + quote(self.path.encode("latin-1"), PATH_LETTERS)

    @property
    def secure(self) -> bool:
        """See `request.Request`."""
        return bool(self.target["wsgi.url_scheme"] == "https")

    def field(self, name: str) -> str:
        """See `request.Request`."""
        key = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
        value: str = self.target.get(key, "")
        return value.strip(" \t")


def _code(status: str) -> int:
    code = status[:3]
    return int(code) if code.isascii() and code.isdigit() else 200


def _inner_environ(environ: Environ, exchange: Exchange, *, hides: bool) -> Environ:
    """What the app gets: a copy, with its visitor's consent and without what it may not see.

    The server's own environ keeps the request as it came. Whoever calls again with it (repoze.retry, error
    documents) is judged again, by the very same request, and a nested call is one that got the copy.
    """
    inner = {**environ, KEY: RequestConsent(exchange)}
    if hides:
        _hide_cookies(inner, exchange)
    for name in exchange.hidden_fields():
        inner.pop("HTTP_" + name.upper().replace("-", "_"), None)
    for key in _SENDERS & environ.keys():
        inner[key] = _judging(environ[key], exchange)
    return inner


# What servers let an app send fields by, past start_response, given as (name, value) pairs.
_SENDERS = frozenset({"wsgi.early_hints", "gunicorn.http2.send_trailers"})


def _judging(send: Callable[[list[Any]], object], exchange: Exchange) -> Callable[[Any], object]:
    """A server's callable that sends fields, to be called with those alone that may leave."""

    def send_judged(headers: Any) -> object:
        if exchange.is_unsettled:
            exchange.settle()
        fields = as_pairs(headers)
        leaving: list[Any] = exchange.trailing(as_texts(fields))
        if exchange.policy.observing:
            leaving = fields
        return send(leaving) if leaving else None

    return send_judged


def _run(
    app: App, environ: Environ, inner: Environ, start_response: StartResponse, exchange: Exchange
) -> Iterable[bytes]:
    """Call the app, and hand on what it adds to its environ.

    Servers and outer middleware look for that in theirs: access logs for `REMOTE_USER`, eventlet for its
    settings. What was there stays as it came: it is the request.
    """
    size = len(inner)
    try:
        body = app(inner, start_response)
    except BaseException:
        exchange.finished = True
        raise
    # A generator starts when its first piece is asked for: until then it is running.
    exchange.finished = exchange.started
    if len(inner) > size:
        environ.update((key, inner[key]) for key in inner.keys() - environ.keys() - {KEY})
    return body


def _hide_cookies(environ: Environ, exchange: Exchange) -> None:
    visible = exchange.visible_cookies(environ["HTTP_COOKIE"])
    if visible:
        environ["HTTP_COOKIE"] = visible
    else:
        del environ["HTTP_COOKIE"]


def _serve_page(environ: Environ, start_response: StartResponse, exchange: Exchange) -> Iterable[bytes]:
    from .pages import respond  # noqa: PLC0415 - the request path never needs Werkzeug

    body: Iterable[bytes] = respond(environ, exchange)(environ, start_response)
    return body
