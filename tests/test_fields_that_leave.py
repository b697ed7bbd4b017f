"""What is no header field does not leave, by either door and on every path; no server is trusted to check it."""

import asyncio
import itertools
import re
from enum import Enum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_middleware import Action, Reason, get_consent
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

PRIVATE = [
    ("cache-control", "private, no-cache, max-age=0"),
    ("vary", "Cookie, Consent-Token, Sec-GPC"),
]
SOUND = ("X-Sound", "1")

# Fields that are none, one by one: servers write name, colon and value.
UNSOUND = [
    ("Set-Cookie: _ga=1; x", "y"),
    ("Set-Cookie:", "_ga=1"),
    ("set-cookie:_ga=1;", ""),
    ("X: 1\r\nSet-Cookie", "_ga=1"),
    ("X: 1\nSet-Cookie", "_ga=1"),
    ("X\rSet-Cookie", "_ga=1"),
    ("X\0Set-Cookie", "_ga=1"),
    ("X\x0bSet-Cookie", "_ga=1"),
    ("Link: <https://tags.example.org>; rel=preconnect, <x", ">"),
    ("X Y", "1"),
    (" X", "1"),
    ("X\t", "1"),
    ("(X)", "1"),
    ("X\xa0", "1"),
    ("\xe9", "1"),
    ("X@", "1"),
    ("", "Set-Cookie: _ga=1"),
    ("Set-Cookie\xa0", "_ga=1"),
    ("Set-Cookie\x85", "session=1"),
    (" Set-Cookie", "session=1"),
    ("Set-Cookie ", "session=; Max-Age=0"),
    ("X", "a\r\nSet-Cookie: _ga=1"),
    ("X", "a\r\n Set-Cookie: _ga=1"),
    ("X", "a\0Set-Cookie: _ga=1"),
    ("X", "a\rset-COOKIE : _ga=1"),
]


def leaving(answer):
    """What left of the app's fields: neither the fixture's own nor what we add."""
    return [field for field in answer.headers if field not in [("content-type", "text/html"), *PRIVATE]]


@pytest.mark.parametrize(("name", "value"), UNSOUND)
def test_what_is_no_field_does_not_leave(exchanges, name, value):
    """A name that is no token stays behind, and so does a cookie behind a line break; the rest leaves."""
    answer = exchanges.run([(name, value), SOUND])
    assert leaving(answer) == [("x-sound", "1")]
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize(("name", "value"), UNSOUND)
def test_no_more_on_any_path(exchanges, visitors, make_policy, name, value):
    """So it is where all is judged, where the app read consent, on errors, and where consent is not needed."""
    ways = [
        {"cookie": visitors["all"]},
        {"on_request": lambda target: get_consent(target).decided},
        {"status": 500},
        {"status": 302},
        {"policy": make_policy(model=lambda target: "opt-out")},
    ]
    for way in ways:
        answer = exchanges.run([(name, value), SOUND, ("Set-Cookie", "session=1")], **way)
        left = [field for field in leaving(answer) if field[0] not in {"cache-control", "vary"}]
        assert left == [("x-sound", "1"), ("set-cookie", "session=1")]


@pytest.mark.parametrize(("name", "value"), UNSOUND)
def test_no_more_when_we_fail(exchanges, policy, monkeypatch, name, value):
    """Where judging fails the cookies stay behind and so does what is no field."""
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", None)
    answer = exchanges.run([(name, value), SOUND, ("Set-Cookie", "session=1")], policy=policy)
    assert leaving(answer) == [("x-sound", "1")]


@pytest.mark.parametrize(("name", "value"), UNSOUND)
def test_observe_mode_changes_nothing(exchanges, make_policy, registry_text, name, value):
    """Observe mode shows what would happen: the answer is what it would be without us."""
    policy = make_policy(registry_text + '\n[consent]\nmode = "observe"\n')
    answer = exchanges.run([(name, value), SOUND], policy=policy)
    assert answer.headers[1:] == [(name.lower(), value), ("x-sound", "1")]


def test_it_is_said_once(exchanges, make_policy, registry_text, caplog):
    """The log says which field stayed behind, or would, as far as its name is one and so without a value."""
    for extra, verb in [("", "dropped"), ('\n[consent]\nmode = "observe"\n', "would be dropped")]:
        caplog.clear()
        policy = make_policy(registry_text + extra)
        for number in range(3):
            exchanges.run([(f"x-secret: {number}", "4711"), SOUND], policy=policy)
        (line,) = [record.getMessage() for record in caplog.records]
        assert line == (
            f"a header field {verb}: its name, which begins with 'x-secret', is no token (RFC 9110, section 5.6.2)"
        )


def test_a_hook_cannot_bring_it_back(exchanges, make_policy):
    """`on_decision` sees a padded name as malformed, and cannot let it pass."""
    seen = []

    def keep(decision, target):
        seen.append(decision)
        return type(decision)(
            decision.name, Action.KEEP, decision.reason, None, decision.before, decision.before
        )

    answer = exchanges.run([("Set-Cookie ", "_ga=1")], policy=make_policy(on_decision=keep))
    assert leaving(answer) == []
    assert [(decision.name, decision.reason) for decision in seen] == [("_ga", Reason.MALFORMED)]


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("default-src 'self';\r\n img-src *", "default-src 'self';   img-src *"),
        ("a\nb", "a b"),
        ("a\0b\r", "a b "),
        ("a\tb\x7f\x01", "a\tb\x7f\x01"),
    ],
)
def test_line_breaks_become_blanks(exchanges, value, left):
    """CR, LF and NUL in a value are blanks (RFC 9110, section 5.5), so that a folded policy still holds."""
    assert leaving(exchanges.run([("Content-Security-Policy", value)])) == [("content-security-policy", left)]


def test_other_fields_that_set_cookies(exchanges, make_policy, registry_text):
    """A field that an app's script turns into cookies is not smuggled in either."""
    policy = make_policy(registry_text + '\n[consent]\nset_cookie_headers = ["X-Jar"]\n')
    fields = [("X", "a\r\nX-Jar: _ga=1"), ("X-Jar:", "_ga=1"), ("X-Jar ", "_ga=1"), ("X-Jar", "session=1")]
    assert leaving(exchanges.run(fields, policy=policy)) == [("x-jar", "session=1")]


# One look for both doors decides whether anything is judged at all.

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
LATIN = st.characters(max_codepoint=255)
WORDS = st.sampled_from(
    [
        "Set-Cookie",
        "set-cookie",
        "SET-COOKIE",
        "X-Jar",
        "x-jar",
        "X",
        "Date",
        "Set",
        "-Cookie",
        "_ga=1",
        "session=1",
    ]
)
SPACES = st.sampled_from(
    ["", "", "", " ", "\t", "\r\n", "\n", "\r", "\0", ":", ": ", "\xa0", "\x85", "\x0b", ";"]
)
NAMES = st.one_of(st.builds("{}{}{}".format, SPACES, WORDS, SPACES), st.text(LATIN, max_size=6), WORDS)
VALUES = st.one_of(
    st.lists(st.one_of(WORDS, SPACES), max_size=6).map("".join), st.text(LATIN, max_size=12), WORDS
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
relaxed = settings(
    max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
# Mentions a cookie, so that everything is judged, and leaves as it is.
NOTE = ("x-note", "set-cookie")


@pytest.fixture(scope="module")
def jar_policy(make_policy, registry_text):
    return make_policy(registry_text + '\n[consent]\nset_cookie_headers = ["X-Jar"]\n')


@relaxed
@given(fields=FIELDS)
def test_the_quick_look_is_the_full_judgement(both_doors, jar_policy, fields):
    """Where a quick look lets an answer go as it is, judging it would have changed nothing."""
    for exchanges in both_doors:
        quick = exchanges.run(fields, policy=jar_policy).headers
        full = exchanges.run([*fields, NOTE], policy=jar_policy).headers
        assert NOTE in full
        full.remove(NOTE)
        assert quick == full


@relaxed
@given(fields=FIELDS)
def test_all_that_leaves_is_sound(both_doors, jar_policy, fields):
    """Every name that leaves is a token, no value holds a break, and no sound field is lost or moved."""
    # What sets cookies is judged, and what is said to caches becomes one line where the answer is personal.
    governed = {"set-cookie", "x-jar", "vary", "cache-control", "expires"}
    kept = [
        (name.lower(), value)
        for name, value in fields
        if TOKEN.fullmatch(name) and not re.search("[\r\n\0]", value) and name.lower() not in governed
    ]
    for exchanges in both_doors:
        answer = exchanges.run(fields, policy=jar_policy)
        assert all(
            TOKEN.fullmatch(name) and not re.search("[\r\n\0]", value) for name, value in answer.headers
        )
        rest = iter(answer.headers[1:])
        assert all(any(field == left for left in rest) for field in kept)


# Types that apps get wrong: each door is handed the very objects.


def through_wsgi(policy, headers, status="200 OK"):
    """The status and fields that a WSGI server is told."""
    told = []

    def app(environ, start_response):
        start_response(status, headers)
        return []

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "https"}
    Wsgi(app, policy)(environ, lambda *args: told.append(args))
    return told[0]


def through_asgi(policy, headers, **message):
    """The message that an ASGI server is sent."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers, **message})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": []}
    asyncio.run(Asgi(app, policy)(scope, None, send))
    return sent[0]


class Name(str, Enum):  # noqa: UP042 - whose text is not its value
    COOKIE = "Set-Cookie"
    OTHER = "X-Other"


KINDS = [
    str,
    lambda text: text.encode("latin-1"),
    lambda text: bytearray(text, "latin-1"),
    lambda text: memoryview(text.encode("latin-1")),
    lambda text: type("Text", (str,), {"lower": lambda self: "x", "strip": lambda self: "x"})(text),
]


@pytest.mark.parametrize("pair", [tuple, list, iter])
@pytest.mark.parametrize(("name_kind", "value_kind"), [*itertools.product(KINDS, KINDS)])
def test_any_type_is_judged(policy, pair, name_kind, value_kind):
    """Octets under WSGI and text under ASGI are judged all the same, and leave in the type of the door."""
    texts = [("Set-Cookie", "_ga=1"), ("Set-Cookie:", "_ga=1"), ("Set-Cookie", "session=1"), ("X", "a\nb")]

    def headers():
        return [pair((name_kind(name), value_kind(value))) for name, value in texts]

    _, left = through_wsgi(policy, headers())
    assert left[:2] == [("Set-Cookie", "session=1"), ("X", "a b")]
    assert {type(text) for field in left for text in field} == {str}
    left = through_asgi(policy, headers())["headers"]
    assert left[:2] == [(b"Set-Cookie", b"session=1"), (b"X", b"a b")]
    assert {type(text) for field in left for text in field} == {bytes}


@pytest.mark.parametrize("several", [list, tuple, iter, lambda fields: (field for field in fields)])
def test_fields_are_read_once(policy, several):
    """A list that is an iterator is not eaten by the first look at it: nothing is lost."""
    fields = [("X-One", "1"), ("X-Two", "2")]
    assert through_wsgi(policy, several(fields))[1] == fields
    octets = [(b"X-One", b"1"), (b"X-Two", b"2")]
    assert through_asgi(policy, several(octets))["headers"] == octets
    assert through_asgi(policy, several([*octets, (b"Set-Cookie", b"session=1")]))["headers"][:2] == octets
    fields.append(("Set-Cookie", "session=1"))
    assert through_wsgi(policy, several(fields))[1] == fields


def test_what_is_no_pair_does_not_leave(policy):
    """A field of three parts, or of one, is none; the answer goes on."""
    assert through_wsgi(policy, [("Set-Cookie", "_ga=1", "x"), ("X",), SOUND])[1] == [SOUND]
    octets = [(b"Set-Cookie", b"_ga=1", b"x"), (b"X",), (b"X-Sound", b"1")]
    assert through_asgi(policy, octets)["headers"] == octets[2:]


def test_numbers_and_other_text(policy):
    """What is neither text nor octets is judged as its text; no answer fails for it."""
    left = through_wsgi(policy, [("Content-Length", 5), (Name.OTHER, "y"), (Name.COOKIE, "_ga=1")])[1]
    assert left[:2] == [("Content-Length", "5"), ("X-Other", "y")]
    assert "_ga" not in str(left)
    left = through_asgi(policy, [("content-length", 5), (b"x", "\u20ac")])["headers"]
    assert left == [(b"content-length", b"5"), (b"x", b"?")]


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("200 OK\r\nSet-Cookie: _ga=1", "200 OK"),
        ("200 OK\nSet-Cookie: _ga=1", "200 OK"),
        ("200 OK\rSet-Cookie: _ga=1", "200 OK"),
        ("200 OK\0Set-Cookie: _ga=1", "200 OK"),
        ("200\x0b OK", "200"),
        ("200 O\x7fK", "200 O"),
        (b"200 OK\r\nSet-Cookie: _ga=1", "200 OK"),
        ("200 Tr\xe8s\tbien", "200 Tr\xe8s\tbien"),
        ("404 Not Found", "404 Not Found"),
    ],
)
def test_the_status_line_is_one_line(policy, make_policy, registry_text, status, left):
    """What follows a control character in the status does not leave; in observe mode nothing is changed."""
    for fields in ([], [("Set-Cookie", "session=1")]):
        assert through_wsgi(policy, fields, status)[0] == left
    observing = make_policy(registry_text + '\n[consent]\nmode = "observe"\n')
    text = status if isinstance(status, str) else status.decode()
    assert through_wsgi(observing, [], status)[0] == text


def test_observe_mode_hands_on_the_very_objects(make_policy, registry_text):
    """In observe mode even types stay as the app has them."""
    policy = make_policy(registry_text + '\n[consent]\nmode = "observe"\n')
    fields = [("X", 5), (b"Set-Cookie", bytearray(b"_ga=1")), ("X:", "y", "z")]
    assert through_asgi(policy, fields[:2])["headers"] == fields[:2]
    assert through_wsgi(policy, fields[:2])[1] == fields[:2]
