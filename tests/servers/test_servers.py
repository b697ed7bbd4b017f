"""What real servers put on the wire behind the middleware."""

import socket
import threading
import time
from contextlib import closing, contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn
import waitress.server

from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

LINES = ["session=1; Path=/; HttpOnly", "_ga=1; Max-Age=63072000", "promo=1", "cart_1=x;  Path=/"]


def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), *(("Set-Cookie", line) for line in LINES)])
    return [environ.get("HTTP_COOKIE", "").encode("latin-1")]


async def asgi_app(scope, receive, send):
    cookie = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    headers = [(b"content-length", b"%d" % len(cookie)), *((b"set-cookie", line.encode()) for line in LINES)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": cookie})


@contextmanager
def uvicorn_serving(policy, http):
    config = uvicorn.Config(
        Asgi(asgi_app, policy), port=0, log_level="warning", http=http, ws="none", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def waitress_serving(policy, _):
    server = waitress.server.create_server(Wsgi(wsgi_app, policy), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.task_dispatcher.shutdown()
        server.close()


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def wsgiref_serving(policy, _):
    with make_server("127.0.0.1", 0, Wsgi(wsgi_app, policy), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, *fields: str) -> tuple[list[str], str]:
    """The raw Set-Cookie lines of one answer, and its body."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall("\r\n".join(["GET / HTTP/1.0", "Host: www.example.com", *fields, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
    head, _, body = answer.partition("\r\n\r\n")
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    return [value.removeprefix(" ") for name, _, value in lines if name.lower() == "set-cookie"], body


@pytest.mark.parametrize(
    ("serving", "option"),
    [
        (uvicorn_serving, "h11"),
        (uvicorn_serving, "httptools"),
        (waitress_serving, None),
        (wsgiref_serving, None),
    ],
    ids=["uvicorn-h11", "uvicorn-httptools", "waitress", "wsgiref"],
)
def test_on_the_wire(make_policy, now, visitors, serving, option):
    """Before consent only what is essential is on the wire, byte for byte; the app never sees the rest."""
    if option == "httptools":
        pytest.importorskip("httptools")
    with serving(make_policy(), option) as port:
        lines, body = ask(port, "Cookie: _ga=1; session=2")
        assert [line.strip() for line in lines] == ["session=1; Path=/; HttpOnly", "cart_1=x;  Path=/"]
        assert body == "session=2"
        plain = visitors["some"].removeprefix("__Host-")
        lines, body = ask(port, f"Cookie: {plain}; _ga=1")
        assert lines[1] == "_ga=1; Max-Age=20908800; Expires=Fri, 23 Jul 2027 12:00:00 GMT"
        assert body == f"{plain}; _ga=1"
