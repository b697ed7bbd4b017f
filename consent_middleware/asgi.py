"""The ASGI door: scope, receive and send, translated for the core and back (ASGI 3, HTTP and WebSocket)."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from io import BytesIO
from typing import Any
from urllib.parse import quote

from .core.filtering import Header
from .exchange import Exchange, as_pairs, as_text, as_texts
from .policy import ConsentPolicy, policy_for
from .request import KEY, PATH_LETTERS, RequestConsent, mount_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
# What is asked of nearly every request, and nearly always absent.
_EXPECTED = frozenset({"consent-token", "sec-gpc", "dnt", "forwarded", "x-forwarded-proto"})
_EXPECTED_OCTETS = frozenset(name.encode() for name in _EXPECTED)
_BODY_LIMIT = 64 * 1024


class ConsentMiddleware:
    """Wraps an ASGI app, outermost. `policy` is a ConsentPolicy or the path of a registry file."""

    def __init__(self, app: App, policy: ConsentPolicy | str | os.PathLike[str]) -> None:
        self.app = app
        self.policy = policy_for(app, policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in {"http", "websocket"} or self.policy.is_nested(scope):
            await self.app(scope, receive, send)
            return
        request = AsgiRequest(scope)
        exchange = Exchange(self.policy, request)

        async def send_judged(message: Message) -> None:
            # Whatever its type: trailers, interim answers, and what servers think of next.
            if message["type"] in _STARTS or "headers" in message or "links" in message:
                if exchange.is_unsettled:
                    await asyncio.to_thread(exchange.settle)
                message = self._judged(message, exchange)
                if message.get("links") == []:
                    return
            await send(message)

        hides = bool(request.cookie) and exchange.hides_cookies()
        if request.method and self.policy.is_page(request.path):
            await _serve_page(scope, receive, send_judged, exchange)
            return
        # A list of its own: what the app does to it is not the request any more.
        inner = {**scope, "headers": [*scope["headers"]], KEY: RequestConsent(exchange)}
        if hides:
            _hide_cookies(inner, exchange)
        if hidden := exchange.hidden_fields():
            inner["headers"] = [
                f for f in inner["headers"] if f[0].decode("latin-1").strip().lower() not in hidden
            ]
        try:
            await self.app(inner, receive, send_judged)
        finally:
            exchange.finished = True

    def _judged(self, message: Message, exchange: Exchange) -> Message:
        """The message with the header fields that may leave: a copy, for the app may hold a constant."""
        judged = {**message}
        if "links" in message:
            judged["links"] = _judged_links(list(message["links"] or ()), exchange)
        if "headers" in message or message["type"] in _STARTS:
            judged["headers"] = self._judged_fields(message, exchange)
        if message.get("subprotocol") is not None:
            judged["subprotocol"] = exchange.subprotocol(message["subprotocol"])
        return judged

    def _judged_fields(self, message: Message, exchange: Exchange) -> list[tuple[Any, ...]]:
        fields, starts = as_pairs(message.get("headers")), message["type"] in _STARTS
        if exchange.can_pass_through and self.policy.enforcer.passes(fields):
            exchange.started |= starts
            return fields
        texts = _texts(fields)
        leaving = exchange.outgoing(message.get("status", 101), texts) if starts else exchange.trailing(texts)
        if exchange.policy.observing and leaving == texts:
            return fields
        return [*_octets(leaving, {name for name, _ in texts})]


def _judged_links(links: list[Any], exchange: Exchange) -> list[Any]:
    """The links of early hints (RFC 8297), each the value of a `Link` field, that may leave."""
    if exchange.policy.observing:
        return links
    leaving = exchange.trailing([("Link", as_text(link)) for link in links])
    return [value.encode("latin-1", "replace") for _, value in leaving]


class AsgiRequest:
    """What the middleware needs to know of an ASGI connection."""

    __slots__ = ("_fields", "_has_expected", "cookie", "method", "mount", "path", "target")

    def __init__(self, scope: Scope) -> None:
        self.target = scope
        self.method: str = scope["method"] if scope["type"] == "http" else ""
        self.path = _path_below_mount(scope)
        root: str = scope.get("root_path", "")
        self.mount = mount_of(root) if root else ""
        self._fields: dict[bytes, list[str]] | None = None
        self._has_expected = False
        cookies: list[str] = []
        for name, value in scope["headers"]:
            if (lower := name.lower()) == b"cookie":
                cookies.append(value.decode("latin-1"))
            elif lower in _EXPECTED_OCTETS:
                self._has_expected = True
        # HTTP/2 splits Cookie into several fields (RFC 9113, section 8.2.3).
        self.cookie = "; ".join(cookies)

    @property
    def full_path(self) -> str:
        """See `request.Request`."""
        return self.mount + quote(self.path, PATH_LETTERS)

    @property
    def secure(self) -> bool:
        """See `request.Request`."""
        return self.target.get("scheme") in {"https", "wss"}

    def field(self, name: str) -> str:
        """See `request.Request`."""
        if not self._has_expected and name in _EXPECTED:
            return ""
        if self._fields is None:
            self._fields = _read_fields(self.target["headers"])
        return ",".join(self._fields.get(name.encode(), ()))


def _read_fields(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[str]]:
    """The values of each field, by its name in lower case, as it should be but need not be (ASGI)."""
    values: dict[bytes, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value.decode("latin-1").strip(" \t"))
    return values


def _path_below_mount(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    # Servers put a root before the path as it was given to them; its last slash may be the path's own.
    for prefix in (root, root.rstrip("/")) if root else ():
        below = path.removeprefix(prefix)
        if below.startswith("/") or not below:
            return below
    return path


def _hide_cookies(scope: Scope, exchange: Exchange) -> None:
    """Take what the app may not see out of the scope's `Cookie` fields; leave all else as it is."""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in scope["headers"]:
        if name.lower() != b"cookie":
            fields.append((name, value))
            continue
        visible = exchange.visible_cookies(value.decode("latin-1"))
        if visible:
            fields.append((name, visible.encode("latin-1")))
    scope["headers"] = fields


def _octets(leaving: list[Header], theirs: set[str]) -> list[tuple[bytes, bytes]]:
    """Back to octets: names of ours in lower case (ASGI, response start), the app's as they were."""
    named = ((name if name in theirs else name.lower(), value) for name, value in leaving)
    # No cookie is left by now that octets cannot say; what else an app got wrong shall not end in an error.
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in named]


def _texts(fields: list[tuple[Any, ...]]) -> list[Header]:
    try:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    except (AttributeError, ValueError):
        return as_texts(fields)


async def _serve_page(scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
    """Run the consent pages, which are synchronous, in a worker thread."""
    from .pages import respond  # noqa: PLC0415 - the request path never needs Werkzeug

    body = await _read_body(receive)
    if body is None:
        return
    environ = environ_of(scope, body)
    page = await asyncio.to_thread(respond, environ, exchange)
    headers: list[Header] = page.get_wsgi_headers(environ).to_wsgi_list()
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": page.status_code, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.get_data()})


async def _read_body(receive: Receive) -> bytes | None:
    """The body, cut just above the limit so that the pages refuse it; None if the client is gone."""
    body = bytearray()
    while len(body) <= _BODY_LIMIT:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body[: _BODY_LIMIT + 1])


def environ_of(scope: Scope, body: bytes = b"") -> dict[str, Any]:
    """A WSGI environ for the pages (PEP 3333)."""
    host, port = scope.get("server") or ("localhost", None)
    root: str = scope.get("root_path", "").rstrip("/")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": _path_below_mount(scope).encode().decode("latin-1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    _add_fields(environ, scope["headers"])
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def _add_fields(environ: dict[str, Any], fields: Iterable[tuple[bytes, bytes]]) -> None:
    values: dict[str, list[str]] = {}
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"
        values.setdefault(key, []).append(raw_value.decode("latin-1"))
    for key, several in values.items():
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(several)
