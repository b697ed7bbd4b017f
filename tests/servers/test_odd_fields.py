"""Real servers write fields that are none; behind the middleware none of that is on the wire."""

import socket
import threading
from contextlib import closing
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from consent_middleware.wsgi import ConsentMiddleware

ODD = [
    ("200 OK", ("Set-Cookie: _ga=1; x", "y")),
    ("200 OK", ("Set-Cookie:", "_ga=1")),
    ("200 OK", (b"Set-Cookie", b"_ga=1")),
    ("200 OK", ("X", "a\r\nSet-Cookie: _ga=1")),
    ("200 OK\r\nSet-Cookie: _ga=1", ("X", "y")),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def wsgiref_server(app):
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    return server, server.server_port, server.shutdown


def werkzeug_server(app):
    serving = pytest.importorskip("werkzeug.serving")

    class Silent(serving.WSGIRequestHandler):
        def log(self, *args):
            pass

    server = serving.make_server("127.0.0.1", 0, app, request_handler=Silent)
    return server, server.port, server.shutdown


def cheroot_server(app):
    wsgi = pytest.importorskip("cheroot.wsgi", reason="cheroot is not installed")
    server = wsgi.Server(("127.0.0.1", 0), app)
    server.prepare()
    server.serve_forever = server.serve
    return server, server.bind_addr[1], server.stop


def waitress_server(app):
    waitress = pytest.importorskip("waitress.server")
    server = waitress.create_server(app, host="127.0.0.1", port=0)
    server.serve_forever = server.run

    def stop():
        server.task_dispatcher.shutdown()
        server.close()

    return server, server.effective_port, stop


def ask(port):
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


@pytest.mark.parametrize("make", [wsgiref_server, werkzeug_server, cheroot_server, waitress_server])
def test_on_the_wire(make_policy, make):
    """No field that is none brings a cookie to the wire, and the answer is the app's."""
    current = []

    def app(environ, start_response):
        status, field = current[0]
        start_response(status, [("Content-Type", "text/plain"), field])
        return [b"hello"]

    server, port, stop = make(ConsentMiddleware(app, make_policy()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        for current[:] in [[case] for case in ODD]:
            head, _, body = ask(port).partition("\r\n\r\n")
            assert head.split("\r\n")[0].split(" ", 1)[1] == "200 OK"
            assert "_ga" not in head
            assert body == "hello"
    finally:
        stop()
        if make in {wsgiref_server, werkzeug_server}:
            thread.join()
            server.server_close()
