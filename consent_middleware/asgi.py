"""The ASGI door: scope, receive and send, translated for the core and back (ASGI 3, HTTP and WebSocket)."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from io import BytesIO
from typing import Any

from .core.header_fields import Header, as_text
from .engine import PROXY_FIELDS, engine_of, policy_for
from .exchange import Exchange
from .policy import ConsentPolicy
from .request import KEY, mount_of, quoted

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Sent = Awaitable[None]
Send = Callable[[Message], Sent]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_SPECIAL = frozenset({b"consent-token", b"sec-gpc", b"dnt"})
_PROXIED = frozenset(name.encode() for name in PROXY_FIELDS)
# Fields that nearly every request has, as ASGI spells them, and that are not looked at before the app runs.
_COMMON = frozenset(
    {
        *(b"host", b"connection", b"cache-control", b"upgrade-insecure-requests", b"user-agent", b"accept"),
        *(b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-user", b"sec-fetch-dest", b"sec-ch-ua"),
        *(b"sec-ch-ua-mobile", b"sec-ch-ua-platform", b"referer", b"accept-encoding", b"accept-language"),
        *(b"content-type", b"content-length", b"priority", b"te", b"pragma", b"authorization"),
        *(b"if-none-match", b"if-modified-since", b"x-forwarded-for", b"x-real-ip"),
    }
)
_BODY_LIMIT = 64 * 1024


class ConsentMiddleware:
    """Wraps an ASGI app, outermost. `policy` is a ConsentPolicy or the path of a registry file."""

    def __init__(self, app: App, policy: ConsentPolicy | str | os.PathLike[str]) -> None:
        self.app = app
        self.policy = policy_for(app, policy)
        self._engine = engine_of(self.policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        engine = self._engine
        if scope["type"] not in {"http", "websocket"} or (KEY in scope and engine.is_nested(scope)):
            await self.app(scope, receive, send)
            return
        request = AsgiRequest(scope)
        exchange = Exchange(engine, request)

        def send_judged(message: Message) -> Sent:
            # Whatever its type: trailers, interim answers, and what servers think of next.
            if message["type"] in _STARTS or "headers" in message or "links" in message:
                if exchange.is_unsettled:
                    return _settle(message, exchange, send)
                return _send_judged(message, exchange, send)
            return send(message)

        if request.method and engine.is_page(request.path):
            await _serve_page(scope, receive, send_judged, exchange)
            return
        try:
            await self.app(_inner_scope(scope, exchange), receive, send_judged)
        finally:
            exchange.finish()


async def _settle(message: Message, exchange: Exchange, send: Send) -> None:
    """Store the records of the app's choices, which takes time, and then send a message."""
    await asyncio.to_thread(exchange.settle)
    await _send_judged(message, exchange, send)


async def _nothing() -> None:
    """What is sent where nothing is left."""


def _send_judged(message: Message, exchange: Exchange, send: Send) -> Sent:
    """Send a message with the header fields that may leave: a copy, for the app may hold a constant."""
    judged = {**message}
    if "links" in message:
        judged["links"] = _judged_links(message["links"], exchange)
        if not judged["links"] and message["type"] not in _STARTS:
            return _nothing()
    if message["type"] in _STARTS:
        judged["headers"] = exchange.outgoing(message.get("status", 101), message.get("headers"), octets=True)
    elif "headers" in message:
        judged["headers"] = exchange.trailing(message["headers"], octets=True)
    if message.get("subprotocol") is not None:
        judged["subprotocol"] = exchange.subprotocol(message["subprotocol"])
    return send(judged)


def _judged_links(links: Iterable[Any] | None, exchange: Exchange) -> list[Any]:
    """The links of early hints (RFC 8297), each the value of a `Link` field, that may leave."""
    given = list(links or ())
    if exchange.policy.observing:
        return given
    leaving = exchange.trailing([("Link", as_text(link)) for link in given])
    return [value.encode("latin-1", "replace") for _, value in leaving]


def _inner_scope(scope: Scope, exchange: Exchange) -> Scope:
    """What the app gets: a copy, with its visitor's consent and without what it may not see."""
    # A list of its own: what the app does to it is not the request any more.
    inner = {**scope, "headers": [*scope["headers"]], KEY: exchange}
    if exchange.hides:
        _hide(inner, exchange)
    return inner


def _hide(scope: Scope, exchange: Exchange) -> None:
    hidden = exchange.hidden_fields()
    if hidden:
        scope["headers"] = [f for f in scope["headers"] if f[0].decode("latin-1").strip().lower() not in hidden]
    if exchange.hides_cookies:
        _hide_cookies(scope, exchange.visible_cookies.encode("latin-1"))


def _hide_cookies(scope: Scope, visible: bytes) -> None:
    """Put what the app may see in the place of the first `Cookie` field, and nothing in that of others."""
    fields = []
    for field in scope["headers"]:
        if field[0].lower() != b"cookie":
            fields.append(field)
        elif visible:
            fields.append((b"cookie", visible))
            visible = b""
    scope["headers"] = fields


class AsgiRequest:
    """What the middleware needs to know of an ASGI connection: the server's own scope, which no app gets."""

    __slots__ = ("_read", "cookie", "is_plain", "is_proxied", "method", "mount", "path", "secure", "target")

    def __init__(self, scope: Scope) -> None:
        self.target = scope
        self.method: str = scope["method"] if scope["type"] == "http" else ""
        root: str = scope.get("root_path", "")
        self.path: str = _path_below_mount(scope) if root else scope["path"]
        self.mount = mount_of(root) if root else ""
        self.secure = scope.get("scheme") in {"https", "wss"}
        self._read: dict[bytes, bytes] | None = None
        cookies: list[bytes] = []
        self.is_plain, self.is_proxied = True, False
        for name, value in scope["headers"]:
            if name in _COMMON:
                continue
            key = name.lower()
            if key == b"cookie":
                cookies.append(value)
            elif key in _SPECIAL:
                self.is_plain = False
            elif key in _PROXIED:
                self.is_proxied = True
        # HTTP/2 splits Cookie into several fields (RFC 9113, section 8.2.3).
        self.cookie = b"; ".join(cookies).decode("latin-1")

    @property
    def full_path(self) -> str:
        """See `request.Request`."""
        return self.mount + quoted(self.path)

    def field(self, name: str) -> str:
        """See `request.Request`."""
        if self._read is None:
            self._read = _read_fields(self.target["headers"])
        return self._read.get(name.encode(), b"").decode("latin-1").strip(" \t")


def _read_fields(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The value of each field, by its name in lower case; of several fields of one name the values joined."""
    pairs = [*fields]
    values = dict(pairs)
    if len(values) == len(pairs) and b"".join(values).islower():
        # As it should be, and nearly always is: names in lower case (ASGI), each once.
        return values
    several: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        several.setdefault(name.lower(), []).append(value)
    return {name: b",".join(values) for name, values in several.items()}


def _path_below_mount(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    # Servers put a root before the path as it was given to them; its last slash may be the path's own.
    for prefix in (root, root.rstrip("/"), f"/{root.strip('/')}") if root else ():
        below = path.removeprefix(prefix)
        if below.startswith("/") or not below:
            return below
    return path


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
        if name == "TRANSFER_ENCODING":
            # The server has undone it; what reads the body has its length.
            continue
        key = name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"
        values.setdefault(key, []).append(raw_value.decode("latin-1"))
    for key, several in values.items():
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(several)
