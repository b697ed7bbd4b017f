"""The consent pages under ASGI: an environ made of a scope, and a worker thread, for they are synchronous."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from io import BytesIO
from typing import Any

from ..exchange import Exchange
from ..request import path_below_mount
from ..worker import in_worker

Message = MutableMapping[str, Any]
_BODY_LIMIT = 64 * 1024


async def serve(
    exchange: Exchange,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer a request for one of the pages."""
    from . import respond  # noqa: PLC0415 - the package's own front

    body = await _read_body(receive)
    if body is None:
        return
    environ = environ_of(exchange.request.target, body)
    page = await in_worker(respond, environ, exchange)
    headers: list[tuple[str, str]] = page.get_wsgi_headers(environ).to_wsgi_list()
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": page.status_code, "headers": fields})
    content = b"" if environ["REQUEST_METHOD"] == "HEAD" else page.get_data()
    await send({"type": "http.response.body", "body": content})


async def _read_body(receive: Callable[[], Awaitable[Message]]) -> bytes | None:
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


def environ_of(scope: Mapping[str, Any], body: bytes = b"") -> dict[str, Any]:
    """A WSGI environ for the pages (PEP 3333)."""
    host, port = scope.get("server") or ("localhost", None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _as_octets(scope.get("root_path", "").rstrip("/")),
        "PATH_INFO": _as_octets(path_below_mount(scope)),
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


def _as_octets(text: str) -> str:
    """A text of UTF-8 as its octets, each a character; what is none of UTF-8 becomes `?`."""
    return text.encode(errors="replace").decode("latin-1")


def _add_fields(environ: dict[str, Any], fields: Iterable[tuple[bytes, bytes]]) -> None:
    values: dict[str, list[str]] = {}
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"
        values.setdefault(key, []).append(raw_value.decode("latin-1"))
    # The server has undone what is coded, and tells the body whole.
    values.pop("HTTP_TRANSFER_ENCODING", None)
    for key, several in values.items():
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(several)
