"""How long engines keep what leaves: what was meant, within the limit, and never longer than what came."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime, parsedate_to_datetime
from http.cookiejar import CookieJar
from unittest.mock import patch
from urllib.request import Request
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIMIT = (datetime(2027, 12, 23, 12, 0, tzinfo=UTC) - NOW).total_seconds()
GONE = "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
SESSION = math.inf
"""A session cookie has no stated end, so any end is earlier."""


def imf(**ahead: float) -> str:
    return format_datetime(NOW + timedelta(**ahead), usegmt=True)


# What RFC 6265bis reads in a date, and what Chromium does; None: no date. The date itself is parsed by
# the standard library, so these are those that it reads as the two do.
DATES = {text: (parsedate_to_datetime(text),) * 2 for text in
         (imf(days=730), imf(hours=1), imf(seconds=40), imf(hours=-1), "Thu, 01 Jan 1970 00:00:00 GMT")}  # fmt: skip
DATES |= {
    "Wed, 22-Nov-28 12:00:00 GMT": (datetime(2028, 11, 22, 12, tzinfo=UTC),) * 2,
    "Mon Nov 23 13:00:00 2026": (NOW + timedelta(hours=1),) * 2,
    "Fri, 14 Oct 1066 09:00:00 GMT": (None, datetime(1066, 10, 14, 9, tzinfo=UTC)),
    "Wed, 09 Jun 20310 10:18:14 GMT": (None, datetime(9999, 12, 31, tzinfo=UTC)),
    "Session": (None, None),
    "0": (None, None),
    "": (None, None),
}
AGES = [
    "0",
    "-1",
    "60",
    "3600",
    "63072000",
    "+5",
    "+63072000",
    "1e9",
    '"0"',
    '"63072000"',
    "x",
    "",
    "\xb2",
    "0" * 1023 + "60",
]


def pieces(line: str) -> list[tuple[str, str]]:
    halves = [piece.partition("=") for piece in line.split(";")[1:]]
    return [
        (name.strip(" \t").lower(), value.strip(" \t")) for name, _, value in halves if len(value) <= 1024
    ]


def end_of(text: str, reader: int) -> datetime | None:
    # What is written anew has dates that the table does not know.
    return DATES[text][reader] if text in DATES else parsedate_to_datetime(text)


def number(text: str, signs: str) -> float | None:
    digits = text[1:] if text[:1] and text[0] in signs else text
    return float(text) if digits.isascii() and digits.isdigit() else None


def standard(line: str, start: datetime) -> float:
    """RFC 6265bis, sections 5.6.1, 5.6.2 and 5.7: the last valid `Max-Age`, else the last valid `Expires`."""
    del start
    ages = [
        age for name, value in pieces(line) if name == "max-age" and (age := number(value, "-")) is not None
    ]
    ends = [end for name, value in pieces(line) if name == "expires" and (end := end_of(value, 0))]
    if ages:
        return ages[-1]
    return (ends[-1] - NOW).total_seconds() if ends else SESSION


def chromium(line: str, start: datetime) -> float:
    """The last of each that stands there, `Expires` counted from the answer's `Date`."""
    last = dict(pieces(line))
    age = number(last.get("max-age", ""), "+-")
    if age is not None:
        return age
    end = end_of(last.get("expires", ""), 1)
    return (end - start).total_seconds() if end else SESSION


def firefox(line: str, start: datetime) -> float:
    """As Chromium, without `+`."""
    return chromium(line.replace("=+", "=x"), start)


def webkitgtk(line: str, start: datetime) -> float:
    """The last valid one of both."""
    del start
    life = SESSION
    for name, value in pieces(line):
        if name == "max-age" and (age := number(value, "+-")) is not None:
            life = age
        elif name == "expires" and (end := end_of(value, 1)):
            life = (end - NOW).total_seconds()
    return life


def cookiejar(line: str, start: datetime) -> float:
    """The standard library's client: not a model of it but itself."""
    del start
    message = Message()
    message["Set-Cookie"] = line.encode("ascii", "replace").decode()
    answer = type("Answer", (), {"info": lambda self: message})()
    with patch("http.cookiejar.time.time", return_value=NOW.timestamp()):
        jar = CookieJar()
        jar.extract_cookies(answer, Request("https://www.example.com/page"))
    for cookie in jar:
        return SESSION if cookie.expires is None else cookie.expires - NOW.timestamp()
    return 0


ENGINES: list[Callable[[str, datetime], float]] = [standard, chromium, firefox, webkitgtk, cookiejar]

lifetimes = st.one_of(
    st.builds("{}={}".format, st.sampled_from(["Max-Age", "max-age", "\xa0Max-Age"]), st.sampled_from(AGES)),
    st.builds("{}={}".format, st.sampled_from(["Expires", "expires "]), st.sampled_from(list(DATES))),
)
values = st.lists(lifetimes | st.sampled_from(["Path=/", "x"]), max_size=4).map(
    lambda parts: "; ".join(["", *parts])
)
dates = st.none() | st.sampled_from([0, 30, -30, 86_400, -86_400, 3 * 31_536_000, -3 * 31_536_000])
relaxed = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sent(exchanges, line, ahead):
    """What leaves, and when engines that go by `Date` start to count."""
    start = NOW + timedelta(seconds=ahead or 0)
    stated = [] if ahead is None else [("Date", format_datetime(start, usegmt=True))]
    return exchanges.run([*stated, ("Set-Cookie", line)]).cookies(), start


@relaxed
@given(values, dates)
@example("; Max-Age=63072000; Max-Age=60", None)
@example("; Max-Age=63072000; Max-Age=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None)
@example(f"; Expires={imf(seconds=40)}", 86_400)
@example(f"; Expires={imf(days=730)}", 3 * 31_536_000)
def test_no_engine_keeps_an_allowed_cookie_longer(both_doors, rest, ahead):
    """Nor is it lost where all of them would have kept it."""
    line = f"session=1{rest}"
    for exchanges in both_doors:
        (leaving,), start = sent(exchanges, line, ahead)
        before = {engine: engine(line, start) for engine in ENGINES}
        after = {engine: engine(leaving, start) for engine in ENGINES}
        meant = min(before[standard], before[chromium])
        for engine in ENGINES:
            assert after[engine] <= LIMIT or after[engine] == SESSION
            # The other engines keep it no longer than was meant, whatever less they make of what came.
            allowed = before[engine] if engine in (standard, chromium) else max(before[engine], meant)
            assert after[engine] <= max(allowed, 0), (engine.__name__, line, leaving)
        if min(before.values()) >= 1:
            assert min(after.values()) > 0, (line, leaving)


@relaxed
@given(values, dates)
@example("; Max-Age=3600; Max-Age=0", None)
@example(f"; Expires={imf(days=730)}; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None)
@example("; Expires=Wed, 22-Nov-28 12:00:00 GMT; Max-Age=0", None)
@example('; Max-Age=-1; Max-Age="63072000"', None)
@example(f"; Expires={imf(hours=1)}", 86_400)
def test_a_deletion_of_a_refused_cookie_deletes(both_doors, rest, ahead):
    """What is meant as a deletion deletes everywhere; anything else stays behind."""
    line = f"_ga=1{rest}"
    for exchanges in both_doors:
        leaving, start = sent(exchanges, line, ahead)
        if min(standard(line, start), chromium(line, start)) <= 0:
            assert len(leaving) == 1
            assert leaving[0].startswith(f"_ga{GONE}")
            assert all(engine(leaving[0], start) <= 0 for engine in ENGINES)
        elif all(engine(line, start) > 0 for engine in ENGINES):
            assert leaving == []


@relaxed
@given(values, dates)
def test_what_is_allowed_twice_is_allowed_once(both_doors, rest, ahead):
    """What has left within its limits leaves a second time as it is."""
    for exchanges in both_doors:
        (leaving,), _ = sent(exchanges, f"session=1{rest}", ahead)
        assert sent(exchanges, leaving, ahead)[0] == [leaving]


@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_a_clock_in_another_zone(exchanges, make_policy, visitors, month, zone):
    """A year or a night that crosses a change to summer time is as long by any clock."""
    moment = datetime(2026, month, 28, 23, 30, tzinfo=UTC)
    policies = [
        make_policy(clock=lambda: moment),
        make_policy(clock=lambda: moment.astimezone(ZoneInfo(zone))),
    ]
    lines = ["session=1; Max-Age=63072000", "remember=1; Max-Age=63072000", "_ga=1; Max-Age=63072000",
             "session=2; Expires=Fri, 24 Dec 2032 12:00:00 GMT"]  # fmt: skip
    utc, local = (exchanges.run_lines(*lines, cookie=visitors["some"], policy=policy) for policy in policies)
    assert utc.cookies() == local.cookies()
    life = {name: parsedate_to_datetime(line.partition("Expires=")[2]) - moment
            for line in local.cookies() for name in [line.partition("=")[0]]}  # fmt: skip
    assert life["remember"] == timedelta(days=30)
    assert timedelta(days=393) <= life["session"] <= timedelta(days=397)
