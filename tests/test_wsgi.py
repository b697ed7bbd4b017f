"""What is particular to WSGI: start_response in all its ways (PEP 3333)."""

import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from consent_middleware import get_consent
from consent_middleware.errors import ConfigurationError, ConsentStateError
from consent_middleware.wsgi import ConsentMiddleware

LINES = [("Set-Cookie", "_ga=1"), ("Set-Cookie", "session=1")]
LEAVING = [
    ("Set-Cookie", "session=1"),
    ("Cache-Control", "private, no-cache, max-age=0"),
    ("Vary", "Cookie, Consent-Token, Sec-GPC"),
]


class Server:
    """A server's side of PEP 3333: collects what it is told."""

    def __init__(self, policy, app):
        self.app = ConsentMiddleware(app, policy)
        self.calls = []
        self.written = []

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.written:
            raise exc_info[1]
        self.calls.append((status, headers, exc_info))
        return self.written.append

    def run(self, **environ):
        setup_testing_defaults(environ)
        environ.setdefault("HTTPS", "on")
        return self.app(environ, self.start_response)


def test_under_the_reference_checker(policy):
    """The checker of the standard library finds no fault on either side of the middleware."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), *LINES])
        return [b"x"]

    environ = {}
    setup_testing_defaults(environ)
    environ.update(QUERY_STRING="", HTTP_COOKIE="_ga=1; session=2")
    seen = []

    def start_response(status, headers, exc_info=None):
        seen.append(headers)
        return lambda data: None

    result = validator(ConsentMiddleware(validator(app), policy))(environ, start_response)
    assert b"".join(result) == b"x"
    result.close()
    assert seen == [[("Content-Type", "text/plain"), *LEAVING]]


def test_pages_under_the_reference_checker(policy):
    """Our own pages keep to PEP 3333 too."""
    environ = {}
    setup_testing_defaults(environ)
    environ.update(QUERY_STRING="", PATH_INFO="/consent/state", SCRIPT_NAME="")
    result = validator(ConsentMiddleware(validator(lambda e, s: []), policy))(
        environ, lambda *args: lambda data: None
    )
    assert b"".join(result)
    result.close()


def test_the_apps_iterable_goes_back_as_it_is(policy):
    """Only headers are ours: the server gets the very object that the app returned."""
    body = iter([b"x"])

    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    assert Server(policy, app).run() is body


def test_a_late_start(policy):
    """A generator calls start_response at its first step; nothing is decided before."""

    def app(environ, start_response):
        start_response("200 OK", LINES)
        yield b"x"

    server = Server(policy, app)
    result = server.run()
    assert server.calls == []
    assert list(result) == [b"x"]
    assert server.calls[0][1] == LEAVING


def test_a_second_start_replaces_everything(policy):
    """With exc_info the whole set is judged again, from scratch, and exc_info passes through."""

    def app(environ, start_response):
        start_response("200 OK", [("X-First", "1"), *LINES])
        try:
            raise RuntimeError
        except RuntimeError:
            start_response("500 Oops", LINES, sys.exc_info())
        return [b"x"]

    server = Server(policy, app)
    server.run()
    assert server.calls[1][:2] == ("500 Oops", LEAVING)
    assert server.calls[1][2][0] is RuntimeError
    assert server.calls[0][2] is None


def test_an_error_after_the_headers_is_raised(policy):
    """Once headers are gone the server raises the app's error, and we do not swallow it."""

    def app(environ, start_response):
        write = start_response("200 OK", LINES)
        write(b"x")
        try:
            raise RuntimeError("late")
        except RuntimeError:
            start_response("500 Oops", [], sys.exc_info())

    with pytest.raises(RuntimeError, match="late"):
        Server(policy, app).run()


def test_write(policy):
    """The app gets the server's own write."""

    def app(environ, start_response):
        start_response("200 OK", LINES)(b"written")
        return []

    server = Server(policy, app)
    server.run()
    assert server.written == [b"written"]


def test_the_list_is_fresh(policy):
    """The server may change the list that it gets, and the app may keep its own."""
    constant = [("Set-Cookie", "session=1"), ("X-One", "1")]

    def app(environ, start_response):
        start_response("200 OK", constant)
        return []

    server = Server(policy, app)
    server.run()
    server.calls[0][1].clear()
    assert constant == [("Set-Cookie", "session=1"), ("X-One", "1")]


def test_text_that_is_not_latin_1(policy):
    """A cookie that no octets stand for stays behind; nothing raises."""

    def app(environ, start_response):
        start_response("200 OK", [("Set-Cookie", "session=\u20ac"), ("X-One", "\u20ac")])
        return []

    server = Server(policy, app)
    server.run()
    assert server.calls[0][1][0] == ("X-One", "\u20ac")


def test_no_choice_after_the_start(policy):
    """Once the headers are decided no choice can reach the visitor: the app is told so."""

    def app(environ, start_response):
        start_response("200 OK", [])
        with pytest.raises(ConsentStateError, match="after the response has started"):
            get_consent(environ).grant("analytics")
        return []

    Server(policy, app).run(REQUEST_METHOD="POST")


def test_nesting(policy, make_policy, registry_text):
    """A nested copy with the same registry is transparent; with another it is an error."""

    def app(environ, start_response):
        start_response("200 OK", LINES)
        return []

    server = Server(policy, ConsentMiddleware(app, make_policy()))
    server.run()
    assert server.calls[0][1] == LEAVING
    other = ConsentMiddleware(app, make_policy(registry_text + '\n[consent]\nunknown = "keep"\n'))
    with pytest.raises(ConfigurationError, match="different registry"):
        ConsentMiddleware(other, policy)
    with pytest.raises(ConfigurationError, match="different registry"):
        Server(policy, lambda environ, start: other(environ, start)).run()


def test_not_wrapped():
    """Asking for consent in an app that nobody wrapped is a clear error."""
    with pytest.raises(ConsentStateError, match="wrap the app"):
        get_consent({})
