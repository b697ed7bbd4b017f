"""The WSGI door: environ and start_response, translated for the core and back (PEP 3333)."""

import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from .exchange import Exchange, mentions
from .policy import ConsentPolicy, policy_for
from .request import KEY, PATH_LETTERS, RequestConsent

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

        def start_judged(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            # A second call replaces the whole set, so each is judged from scratch, into a fresh list.
            if exchange.is_unsettled:
                exchange.settle()
            if exchange.adds_nothing and not mentions(headers, self.policy.enforcer.signs, "\0"):
                exchange.started, leaving = True, list(headers)
            else:
                leaving = exchange.outgoing(_code(status), headers)
            try:
                return (
                    start_response(status, leaving, exc_info) if exc_info else start_response(status, leaving)
                )
            finally:
                exc_info = None

        environ[KEY] = RequestConsent(exchange)
        hides = bool(request.cookie) and exchange.hides_cookies()
        if self.policy.is_page(request.path):
            return _serve_page(environ, start_judged, exchange)
        if hides:
            _hide_cookies(environ, exchange)
        for name in exchange.hidden_fields():
            environ.pop("HTTP_" + name.upper().replace("-", "_"), None)
        return self.app(environ, start_judged)


class WsgiRequest:
    """What the middleware needs to know of a WSGI request."""

    __slots__ = ("cookie", "path", "target")

    def __init__(self, environ: Environ) -> None:
        self.target = environ
        self.path: str = environ.get("PATH_INFO", "")
        self.cookie: str = environ.get("HTTP_COOKIE", "")

    @property
    def method(self) -> str:
        """See `request.Request`."""
        method: str = self.target["REQUEST_METHOD"]
        return method

    @property
    def mount(self) -> str:
        """See `request.Request`."""
        mount: str = self.target.get("SCRIPT_NAME", "")
        return mount

    @property
    def full_path(self) -> str:
        """See `request.Request`."""
        return quote((self.mount + self.path).encode("latin-1"), PATH_LETTERS)

    @property
    def secure(self) -> bool:
        """See `request.Request`."""
        return bool(self.target["wsgi.url_scheme"] == "https")

    def field(self, name: str) -> str:
        """See `request.Request`."""
        value: str = self.target.get("HTTP_" + name.upper().replace("-", "_"), "")
        return value.strip(" \t")


def _code(status: str) -> int:
    code = status[:3]
    return int(code) if code.isascii() and code.isdigit() else 200


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
