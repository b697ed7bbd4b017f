"""What an app's own parser finds in the request's cookies: nothing that the visitor refused."""

import warnings
from collections.abc import Iterable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st


def django_wsgi(field: str) -> Iterable[str]:
    from django.core.handlers.wsgi import get_str_from_wsgi
    from django.http import parse_cookie

    return parse_cookie(get_str_from_wsgi({"HTTP_COOKIE": field}, "HTTP_COOKIE", ""))


def django_asgi(field: str) -> Iterable[str]:
    from django.http import parse_cookie

    return parse_cookie(field)


def starlette(field: str) -> Iterable[str]:
    from starlette.requests import cookie_parser

    return cookie_parser(field)


def werkzeug(field: str) -> Iterable[str]:
    from werkzeug.http import parse_cookie

    try:
        return parse_cookie(field)
    except UnicodeDecodeError:
        return ()


def http_cookies(field: str) -> Iterable[str]:
    found = SimpleCookie()
    with suppress(CookieError):
        found.load(field)
    return found


def webob(field: str) -> Iterable[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from webob.cookies import parse_cookie

    return [name.decode("latin-1") for name, _ in parse_cookie(field)]


def aiohttp(field: str) -> Iterable[str]:
    from aiohttp._cookie_helpers import parse_cookie_header

    text = field.encode("latin-1").decode("utf-8", "surrogateescape")
    return [name for name, _ in parse_cookie_header(text)]


PARSERS = [
    parser
    for parser, package in (
        (django_wsgi, "django"),
        (django_asgi, "django"),
        (starlette, "starlette"),
        (werkzeug, "werkzeug"),
        (http_cookies, "http"),
        (webob, "webob"),
        (aiohttp, "aiohttp"),
    )
    if find_spec(package)
]
REFUSED = ["_ga", "_ga_1", "ads_id", "share"]

blanks = st.sampled_from(
    ["", " ", "\t", "\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\xc2\xa0", "\xc2\x85", "\xe2\x80\x83", "\xe3\x80\x80"]
)  # fmt: skip
marks = st.sampled_from(
    [
        "=",
        "=",
        "=",
        " = ",
        ",",
        "[",
        "]",
        '"',
        "'",
        "\\",
        "(",
        "{",
        "@",
        ":",
        "/",
        "\xe9",
        "\xff",
        " ",
        "x",
        "1",
    ]
)
names = st.sampled_from([*REFUSED, "promo", "session", "x"])
odd_pieces = st.lists(st.one_of(blanks, marks, names, names), min_size=1, max_size=7).map("".join)
# A pair of an allowed name stays whole, whatever http.cookies makes of its inside: so its inside is plain.
pieces = st.one_of(odd_pieces, st.sampled_from(["session=1", " session=2 ", 'session="3', "\tremember=4"]))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pieces.filter(lambda text: not is_odd_inside(text)), min_size=1, max_size=3))
@example(["\xc2\xa0_ga=1"])
@example(["\xc2\x85_ga=1"])
@example(["\xe2\x80\x83_ga=1"])
@example(["\xe3\x80\x80_ga\xe3\x80\x80=1"])
@example([",_ga=1"])
@example(["[_ga=1"])
@example(["= _ga=1"])
@example(["x_ga=1 _ga=2"])
@example(['session="3', 'x=" _ga=1'])
def test_no_parser_finds_what_is_refused(both_doors, policy, parts):
    """Whatever stands around a refused name, the app is not shown it."""
    for exchanges in both_doors:
        visible = exchanges.visible("; ".join(parts)) or ""
        found = [(parser.__name__, name) for parser in PARSERS for name in parser(visible)]
        assert not [one for one in found if policy.registry.classify(one[1]) and is_refused(one[1])]


def is_refused(name: str) -> bool:
    return name in {"ads_id", "share", "_ga"} or name.startswith("_ga_")


def is_odd_inside(piece: str) -> bool:
    """Whether a piece of an allowed name holds anything else that could be taken for a name."""
    name, _, value = piece.partition("=")
    return name.strip(" \t") in {"session", "remember"} and any(name in value for name in REFUSED)


STAYS = [
    "session=1, _ga=2",
    "session=1 _ga=2",
    'session="_ga=2"',
    "session=\xa0_ga=1",
    "promo=_ga",
    "promo= _ga",
    "promo=x_ga=1",
    "promo=_ga=1",
    "my_ga=1",
    "x-_ga=1",
    "caf\xe9=1",
    "\xc3\xa9t\xc3\xa9=\xc3\xa9",
    "odd thing",
    "p={%22_ga%22:1}",
    'p={"a":1,"b":2}',
    "a[b]=1",
    "\xa0__Host-consent=1",
]


@pytest.mark.parametrize("pair", STAYS)
def test_what_stays_whole(exchanges, pair):
    """A pair whose own name is allowed stays octet for octet, and so does what nobody takes for a refused one."""
    assert exchanges.visible(pair) == pair
    assert exchanges.visible(f"a=1;  {pair} ;_ga=1; b=2") == f"a=1;  {pair} ; b=2"


@pytest.mark.parametrize(
    "name", ["\xa0_ga", "\xc2\xa0_ga", "\xe3\x80\x80_ga", ",_ga", "[_ga", '"_ga', "x _ga"]
)
def test_a_yes_shows_it(exchanges, visitors, name):
    """A look-alike of what the visitor allowed is an undeclared cookie like any other."""
    pair = f"{name}=1"
    assert exchanges.visible(f"a=1; {pair}") == "a=1"
    assert exchanges.visible(f"{pair}; {visitors['some']}") == f"{pair}; {visitors['some']}"


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\x1c", "\xc2\xa0", "\xe2\x80\x83"])
@pytest.mark.parametrize("before", [True, False])
def test_only_our_own_name_is_ours(exchanges, visitors, blank, before):
    """A token under a name that only looks like ours neither gives consent nor takes a choice away."""
    name, _, token = visitors["all"].partition("=")
    alike = f"{blank}{name}={token}" if before else f"{name}{blank}={token}"
    forged = alike.replace(token, "x")
    assert exchanges.run_lines("_ga=1", cookie=alike).cookies() == []
    assert exchanges.run_lines("_ga=1", cookie=f"{alike}; {visitors['none']}").cookies() == []
    assert exchanges.run_lines("_ga=1", cookie=f"{forged}; {visitors['all']}").cookies() == ["_ga=1"]
    assert exchanges.run_lines("_ga=1", cookie=f"\t {visitors['all']}\t").cookies() == ["_ga=1"]


@pytest.mark.parametrize(
    "name", ["\xa0__Host-consent", "\x85__Host-consent", "\xa0_ga", "_ga\x85", "\xe3\x80\x80session"]
)
def test_a_look_alike_is_deleted_as_it_came(exchanges, make_policy, registry_text, name):
    """Where undeclared cookies are expired, the deletion names the cookie octet by octet."""
    policy = make_policy(registry_text + '\n[consent]\nundeclared_request = "expire"\n')
    fields = [("Sec-Fetch-Site", "same-origin")]
    answer = exchanges.run(cookie=f"{name}=1; session=2", fields=fields, policy=policy)
    assert answer.cookies()
    assert all(line.startswith(f"{name}=; Max-Age=0; ") for line in answer.cookies())
    assert answer.seen["cookie"] == "session=2"


def test_no_more_pairs_than_are_read(exchanges, make_policy):
    """Behind the pairs that are read the app is shown none at all, however well known their names are."""
    policy, page = make_policy(), [("Sec-Fetch-Site", "same-origin")]
    assert exchanges.visible("session=1", policy=policy, fields=page) == "session=1"
    assert exchanges.visible("session=1; " * 999 + "_ga=2", policy=policy, fields=page).count("=") == 999
    assert exchanges.visible("session=1; " * 1001 + "_ga=2", policy=policy, fields=page) is None
