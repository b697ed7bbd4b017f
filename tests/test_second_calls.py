"""WSGI: who calls again with the same environ is judged again; nested is what an outer call passes on."""

import sqlite3
from contextlib import closing

import pytest

from consent_middleware import get_consent
from consent_middleware.request import KEY
from consent_middleware.wsgi import ConsentMiddleware

REQUEST = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/page",
    "SCRIPT_NAME": "",
    "wsgi.url_scheme": "https",
    "HTTP_COOKIE": "_ga=1; session=2",
}
LINES = [("Set-Cookie", "_ga=1"), ("Set-Cookie", "session=1")]


class Server:
    """Keeps what it is told, call by call."""

    def __init__(self):
        self.told = []

    def __call__(self, status, headers, exc_info=None):
        self.told.append([value for name, value in headers if name == "Set-Cookie" and "=;" not in value])


def eager(seen):
    def app(environ, start_response):
        seen.append(environ.get("HTTP_COOKIE"))
        start_response("200 OK", LINES)
        return [b"x"]

    return app


def late(seen):
    def app(environ, start_response):
        seen.append(environ.get("HTTP_COOKIE"))
        start_response("200 OK", LINES)
        yield b"x"

    return app


def failing_first(seen):
    inner = eager(seen)

    def app(environ, start_response):
        if not seen:
            seen.append(environ.get("HTTP_COOKIE"))
            raise RuntimeError("conflict")
        return inner(environ, start_response)

    return app


@pytest.mark.parametrize("make", [eager, late, failing_first])
@pytest.mark.parametrize("consumes", [True, False])
@pytest.mark.parametrize("copies", [True, False])
def test_a_second_call_is_judged(policy, make, consumes, copies):
    """A retry or an error document: the same request again, whether or not the first answer is read to its end."""
    seen, server, environ = [], Server(), dict(REQUEST)
    app = ConsentMiddleware(make(seen), policy)
    bodies = []
    for _ in range(3):
        try:
            bodies.append(app(dict(environ) if copies else environ, server))
        except RuntimeError:
            continue
        if consumes:
            assert list(bodies[-1]) == [b"x"]
    for body in () if consumes else bodies:
        assert list(body) == [b"x"]
    assert seen == ["session=2"] * 3
    assert server.told
    assert set(map(tuple, server.told)) == {("session=1",)}
    assert environ["HTTP_COOKIE"] == REQUEST["HTTP_COOKIE"]
    assert KEY not in environ


@pytest.mark.parametrize("make", [eager, late])
def test_a_call_while_the_first_is_being_sent(policy, make):
    """Each answer is judged by its own exchange, in whatever order servers ask for their pieces."""
    seen, environ = [], dict(REQUEST)
    app = ConsentMiddleware(make(seen), policy)
    first, second = Server(), Server()
    one, other = iter(app(environ, first)), iter(app(environ, second))
    assert (next(other), next(one)) == (b"x", b"x")
    assert first.told == second.told == [["session=1"]]


@pytest.mark.parametrize("make", [eager, late])
def test_nested_is_what_is_passed_on(policy, make_policy, make):
    """A copy inside leaves all judging to the one that is running, also where a generator calls it later."""
    decisions, seen, server = [], [], Server()
    inner = ConsentMiddleware(make(seen), make_policy(on_decision=lambda d, t: decisions.append(d)))

    def outer(environ, start_response):
        yield from inner(environ, start_response)

    for app in (inner, outer):
        assert list(ConsentMiddleware(app, policy)(dict(REQUEST), server)) == [b"x"]
    assert decisions == []
    assert server.told == [["session=1"], ["session=1"]]


def test_an_environ_kept_by_the_app(policy):
    """What an app keeps of a finished exchange opens no way past the judging."""
    kept, server = [], Server()

    def app(environ, start_response):
        kept.append(environ)
        start_response("200 OK", LINES)
        return []

    wrapped = ConsentMiddleware(app, policy)
    wrapped(dict(REQUEST), server)
    wrapped(kept[0], server)
    assert server.told == [["session=1"]] * 2

    def failing(environ, start_response):
        kept.append(environ)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ConsentMiddleware(failing, policy)(dict(REQUEST), server)
    wrapped(kept[-2], server)
    assert server.told == [["session=1"]] * 3


def test_what_the_app_adds_is_seen_outside(policy):
    """Access logs look for REMOTE_USER in the server's environ; what was there is still the request."""
    environ = dict(REQUEST)

    def app(environ, start_response):
        environ["REMOTE_USER"] = "ann"
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/page", ""
        environ["HTTP_COOKIE"] = "changed=1"
        start_response("200 OK", [])
        return []

    ConsentMiddleware(app, policy)(environ, Server())
    assert environ == {**REQUEST, "REMOTE_USER": "ann"}
    assert type(environ) is dict


def test_what_is_added_is_seen_whatever_is_taken_out(policy):
    """An app that takes a spoofed field out of its request, and says who it is, has told so outside."""
    environ = {**REQUEST, "HTTP_REMOTE_USER": "spoofed", "HTTP_X": "1"}

    def app(environ, start_response):
        del environ["HTTP_REMOTE_USER"], environ["HTTP_X"]
        environ["REMOTE_USER"] = "ann"
        start_response("200 OK", [])
        return []

    ConsentMiddleware(app, policy)(environ, Server())
    assert environ["REMOTE_USER"] == "ann"

    def emptying(environ, start_response):
        environ.clear()
        start_response("200 OK", [])
        return []

    ConsentMiddleware(emptying, policy)(environ, Server())
    assert environ["REMOTE_USER"] == "ann"
    assert KEY not in environ


GATED = """
[gating]
mode = "enforce"
[vendors.tags]
name = "Tags"
purposes = ["analytics"]
hosts = ["tags.example.org"]
"""
HINTS = [
    ("Set-Cookie", "_ga=1"),
    ("Set-Cookie", "session=1"),
    ("Link", "<https://tags.example.org/t.js>; rel=preload"),
    ("Link", "</own.css>; rel=preload"),
    ("Set-Cookie:", "_ga=1"),
    ("X", "a\r\nSet-Cookie: _ga=1"),
    (b"Set-Cookie", b"_ga=1"),
]
LEFT = [("Set-Cookie", "session=1"), ("Link", "</own.css>; rel=preload")]


@pytest.mark.parametrize("key", ["wsgi.early_hints", "gunicorn.http2.send_trailers"])
@pytest.mark.parametrize("several", [list, tuple, iter])
def test_callables_that_send_fields(make_policy, registry_text, visitors, key, several):
    """A server's callables in the environ send what may leave, and nothing where nothing is left."""
    policy, sent = make_policy(registry_text + GATED), []

    def app(environ, start_response):
        environ[key](several(HINTS))
        environ[key](several(HINTS[:1]))
        start_response("200 OK", [])
        return []

    ConsentMiddleware(app, policy)({**REQUEST, key: sent.append}, Server())
    assert sent == [LEFT]
    sent.clear()
    allowing = {**REQUEST, "HTTP_COOKIE": visitors["some"], key: sent.append}
    ConsentMiddleware(app, policy)(allowing, Server())
    assert sent == [[*HINTS[:4], ("Set-Cookie", "_ga=1")], HINTS[:1]]


def test_early_hints_while_observing(make_policy, registry_text):
    """In observe mode they leave as they are."""
    policy, sent = make_policy(registry_text + '\n[consent]\nmode = "observe"\n'), []

    def app(environ, start_response):
        environ["wsgi.early_hints"](HINTS)
        start_response("200 OK", [])
        return []

    ConsentMiddleware(app, policy)({**REQUEST, "wsgi.early_hints": sent.append}, Server())
    assert sent == [HINTS]


def test_hints_come_after_the_proof(make_policy, tmp_path):
    """A grant opens what it opens only once its record is stored, in early hints too; else it does not."""
    policy, sent = make_policy(records=f"sqlite:///{tmp_path}/consent.db?timeout=0.05"), []

    def app(environ, start_response):
        get_consent(environ).grant("analytics")
        environ["wsgi.early_hints"]([("Set-Cookie", "_ga=1")])
        start_response("200 OK", [])
        return []

    own = {"REQUEST_METHOD": "POST", "HTTP_SEC_FETCH_SITE": "same-origin"}
    request = {**REQUEST, **own, "wsgi.early_hints": sent.append}
    ConsentMiddleware(app, policy)(dict(request), Server())
    assert sent == [[("Set-Cookie", "_ga=1")]]
    with closing(sqlite3.connect(tmp_path / "consent.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ConsentMiddleware(app, policy)(dict(request), Server())
    assert len(sent) == 1
    policy.records.close()
