"""The ASGI door: scope, receive and send, translated for the core and back (ASGI 3, HTTP and WebSocket)."""

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, overload

from . import stages
from .core.header_fields import as_text
from .engine import PROXY_FIELDS, engine_of, policy_for
from .exchange import Exchange
from .interface import check_app
from .policy import ConsentPolicy
from .request import KEY, mount_of, path_below_mount, quoted
from .worker import in_worker

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable
    from asgiref.typing import Scope as TypedScope

# What Starlette and others take for the types of asgiref: neither is a subtype of the other.
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


class ConsentMiddleware:
    """Wraps an ASGI app, outermost. `policy` is a ConsentPolicy or the path of a registry file."""

    def __init__(self, app: "ASGI3Application | App", policy: ConsentPolicy | str | os.PathLike[str]) -> None:
        check_app(app, "ASGI")
        self.app: Callable[[Any, Any, Any], Awaitable[None]] = app
        self.policy = policy_for(app, policy)
        self._engine = engine_of(self.policy)

    def __repr__(self) -> str:
        return f"<{__name__}.ConsentMiddleware of {self.policy!r}>"

    @overload
    async def __call__(
        self, scope: "TypedScope", receive: "ASGIReceiveCallable", send: "ASGISendCallable"
    ) -> None: ...

    @overload
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Sent]
    ) -> None:
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
                if exchange.pending:
                    return _settle(message, exchange, send)
                return _send_judged(message, exchange, send)
            return send(message)

        if request.path.startswith(engine.page_starts) and engine.is_page(request):
            from .pages import over_asgi  # noqa: PLC0415 - the request path never needs Werkzeug

            await over_asgi.serve(exchange, receive, send_judged)
            return
        try:
            # A list of its own: what the app does to it is not the request any more.
            inner = {**scope, "headers": [*scope["headers"]], KEY: exchange}
            if exchange.cookies is not None or engine.hides_fields:
                _hide(inner, request, exchange)
            await self.app(inner, receive, send_judged)
        finally:
            exchange.finish()


async def _settle(message: Message, exchange: Exchange, send: Send) -> None:
    """Store the records of the app's choices, which takes time, and then send a message."""
    await in_worker(exchange.settle)
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
        judged["headers"] = stages.outgoing(
            exchange, message.get("status", 101), message.get("headers"), octets=True
        )
    elif "headers" in message:
        judged["headers"] = stages.trailing(exchange, message["headers"], octets=True)
    if message.get("subprotocol") is not None:
        judged["subprotocol"] = stages.subprotocol(exchange, message["subprotocol"])
    return send(judged)


def _judged_links(links: Iterable[Any] | None, exchange: Exchange) -> list[Any]:
    """The links of early hints (RFC 8297), each the value of a `Link` field, that may leave."""
    given = list(links or ())
    if exchange.policy.observing:
        return given
    leaving = stages.trailing(exchange, [("Link", as_text(link)) for link in given])
    return [value.encode("latin-1", "replace") for _, value in leaving]


def _hide(scope: Scope, request: "AsgiRequest", exchange: Exchange) -> None:
    """Take out of the app's scope what it may not see of the request."""
    hidden = exchange.hidden_fields().octets
    if not hidden.isdisjoint(request.names):
        scope["headers"] = [field for field in scope["headers"] if field[0].lower() not in hidden]
    if exchange.cookies is not None:
        _hide_cookies(scope, exchange.cookies.visible.encode("latin-1"))


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

    __slots__ = (
        "_is_lower",
        "_read",
        "cookie",
        "is_plain",
        "is_proxied",
        "method",
        "mount",
        "names",
        "path",
        "secure",
        "target",
    )

    def __init__(self, scope: Scope) -> None:
        self.target = scope
        self.method: str = scope["method"] if scope["type"] == "http" else ""
        root: str = scope.get("root_path", "")
        self.path: str = path_below_mount(scope) if root else scope["path"]
        self.mount = mount_of(root) if root else ""
        self.secure = scope.get("scheme") in {"https", "wss"}
        self._read: dict[bytes, bytes] | None = None
        self.names: list[bytes] = []
        """The names of its fields in lower case, but for those that nearly every request has."""
        names = self.names
        cookies: list[bytes] = []
        self.is_plain, self.is_proxied = True, False
        for name, value in scope["headers"]:
            if name in _COMMON:
                continue
            key = name.lower()
            names.append(key)
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
