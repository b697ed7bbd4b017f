"""Set-Cookie and Cookie are read as browsers read them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.core.filtering import split_cookies
from consent_middleware.core.set_cookie import (
    Flaw,
    cookie_date,
    deletion,
    imf_fixdate,
    lasting,
    read_set_cookie,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

DATES = [
    ("Thu, 31 Dec 2037 23:55:55 GMT", (2037, 12, 31, 23, 55, 55)),
    ("Thu, 31 Dec 23:55:55 2037 GMT", (2037, 12, 31, 23, 55, 55)),
    ("Wed Dec 12 2007 08:44:07 GMT-0500 (EST)", (2007, 12, 12, 8, 44, 7)),
    ("Mon, 01-Jan-2011 00: 00:00 GMT", None),
    ("Wednesday, 01-Jan-10 0:0:00 GMT", (2010, 1, 1, 0, 0, 0)),
    ("Wed, 09 Jun 69 10:18:14 GMT", (2069, 6, 9, 10, 18, 14)),
    ("Wed, 09 Jun 70 10:18:14 GMT", (1970, 6, 9, 10, 18, 14)),
    ("Sun Nov  6 08:49:37 1994", (1994, 11, 6, 8, 49, 37)),
    ("Wed, 09 Jun 2031 10:18 GMT", None),
    ("Wed, 30 Feb 2031 10:18:14 GMT", None),
    ("Wed, 09 Jun 1600 10:18:14 GMT", (1600, 6, 9, 10, 18, 14)),
    ("Wed, 09 Jun 101 10:18:14 GMT", (101, 6, 9, 10, 18, 14)),
    ("Wed, 09 Jun 2031 24:18:14 GMT", None),
    ("Wed, 09 Jun 2031 10:18:60 GMT", None),
    ("Wed, 09 Jun 20310 10:18:14 GMT", (9999, 12, 31, 0, 0, 0)),
    ("Wed, 09 Jun 203100 10:18:14 GMT", None),
    ("Wed, 09 junk 2031 10:18:14x GMT", (2031, 6, 9, 10, 18, 14)),
    ("2031-06-09T10:18:14Z", None),
    ("Session", None),
    ("0", None),
    ("-1", None),
    ("", None),
    ("\u0663 Jun 2031 10:18:14", None),
]


@pytest.mark.parametrize(("text", "expected"), DATES)
def test_cookie_date(text, expected):
    """Dates are read by the algorithm of the standard, in UTC whatever zone the text names."""
    assert cookie_date(text) == (expected and datetime(*expected, tzinfo=UTC))


@given(st.datetimes(min_value=datetime(1601, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001 - made aware below
def test_dates_come_back(moment):
    """What we write as a date reads as the same second."""
    aware = moment.replace(tzinfo=UTC, microsecond=0)
    assert cookie_date(imf_fixdate(aware)) == aware


FLAWS = [
    ("a=b", None),
    ("token", Flaw.NAMELESS),
    ("=a=b", Flaw.NAMELESS),
    ("", Flaw.NAMELESS),
    ("a=b\x00", Flaw.MALFORMED),
    ("a=b; HttpOnly\r\nX: y", Flaw.MALFORMED),
    ("a\tb=c", Flaw.MALFORMED),
    ("a=\tb\t", None),
    ("\x85a=b", Flaw.MALFORMED),
    ("caf\xe9=b", Flaw.MALFORMED),
    ("a,b=c", Flaw.MALFORMED),
    ("'a'=b", Flaw.MALFORMED),
    ("a=\u0100", Flaw.MALFORMED),
    ("a=\xff", None),
    ("a" * 2048 + "=" + "b" * 2048, None),
    ("a" * 2048 + "=" + "b" * 2049, Flaw.TOO_LARGE),
    ("__Host-a=b; Secure; Path=/", None),
    ("__Host-a=b; Secure; Path=/; Domain=", None),
    ("__Host-a=b; Secure", Flaw.PREFIX),
    ("__Host-a=b; Path=/", Flaw.PREFIX),
    ("__host-a=b; Secure; Path=/; Domain=example.com", Flaw.PREFIX),
    ("__SECURE-a=b", Flaw.PREFIX),
    ("__Secure-a=b; Secure=false", None),
    ("__Http-a=b; Secure", Flaw.PREFIX),
    ("__Http-a=b; Secure; HttpOnly", None),
    ("__Host-Http-a=b; Secure; HttpOnly", Flaw.PREFIX),
    ("__other=b", None),
]


@pytest.mark.parametrize(("line", "flaw"), FLAWS)
def test_flaws(line, flaw):
    """A line that no two browsers would store as one cookie is told apart."""
    assert read_set_cookie(line).flaw is flaw


@given(st.text(alphabet=st.characters(max_codepoint=0x180), max_size=300))
def test_no_text_raises(line):
    """Whatever an app sends is read, and whatever is rewritten reads back as it was meant."""
    cookie = read_set_cookie(line)
    life = cookie.attributes.life(NOW)
    if cookie.flaw is None:
        for rewritten, seconds in [
            (cookie.head + cookie.attributes.rest, None),
            (lasting(cookie.head + cookie.attributes.rest, 60, NOW), 60),
            (deletion(cookie.name, cookie.attributes), 0),
        ]:
            again = read_set_cookie(rewritten)
            assert again.name == cookie.name
            assert again.attributes.life(NOW).clear
            assert again.attributes.life(NOW).intended == seconds
            assert (again.attributes.domain, again.attributes.path) == (
                cookie.attributes.domain,
                cookie.attributes.path,
            )
    assert life.intended is None or life.longest >= life.intended


def test_attributes():
    """Attributes are found whatever their case and blanks, the last of each kind counting."""
    attributes = read_set_cookie(
        "a=b; path=/x ;DOMAIN = .Example.COM; secure=no;HttpOnly;; SameSite=LAX; Partitioned; Priority=High"
    ).attributes
    assert attributes[5:-1] == (
        "; path=/x ;DOMAIN = .Example.COM; secure=no;HttpOnly;; SameSite=LAX; Partitioned; Priority=High",
        False,
        True,
        True,
        "lax",
        "example.com",
        "/x",
        True,
    )


def test_attribute_values_that_are_too_long():
    """An attribute of more than 1024 octets is none."""
    assert read_set_cookie(f"a=b; Path=/{'x' * 1023}").attributes.path == "/" + "x" * 1023
    assert read_set_cookie(f"a=b; Path=/{'x' * 1024}").attributes.path == ""


LONG = "/" + "x" * 1024


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (f"; Path=/a; Path={LONG}", "; Path=/a"),
        (f"; Path=/a; Path=/b; Path={LONG}; Path={LONG}", "; Path=/b"),
        (f"; Path={LONG}; Path=/a", "; Path=/a"),
        (f"; Domain=example.com; x; Domain={LONG}", "; Domain=example.com; x"),
        (f"; SameSite=Strict; SameSite={LONG}", "; SameSite=Strict"),
        (f"; Path={LONG}; Path={LONG}; Secure", "; Secure"),
        (f"; Path={LONG}; Secure", f"; Path={LONG}; Secure"),
    ],
)
def test_repeated_attributes_that_are_too_long(sent, kept):
    """Of a repeated attribute the last stays that browsers do not ignore for its length."""
    cookie = read_set_cookie(f"a=b; Max-Age=60{sent}")
    assert cookie.attributes.rest == kept
    gone = "a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert deletion(cookie.name, cookie.attributes) == gone + kept
    assert cookie.attributes.repeated is (kept != sent)


def test_split_cookies():
    """A Cookie field splits at `;` and the first `=`, names lose SP and HTAB, and nothing is decoded."""
    assert split_cookies(" \t_ga\t=1; \xa0_ga=1;\x85_ga\x1f=1", frozenset())[0] == [
        "_ga",
        "\xa0_ga",
        "\x85_ga\x1f",
    ]
    names, own = split_cookies('a=b=c;  own= d=e ; \xa0own=1;own; "f;" =g; ; h', frozenset({"own"}))
    assert own == ["d=e", ""]
    assert names == ["a", "own", "\xa0own", "own ", '"f ', '"', " ", "h "], "a nameless one ends with a blank"
