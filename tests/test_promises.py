"""The promises of the design as properties, through WSGI and ASGI alike."""

from datetime import UTC, datetime, timedelta
from functools import partial
from http.cookiejar import CookieJar
from unittest.mock import patch
from urllib.request import Request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.permissions import permissions_on
from consent_middleware.core.set_cookie import read_set_cookie
from consent_middleware.core.visitor import Circumstances, view_visitor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CAP = datetime(2027, 12, 23, 12, 0, tzinfo=UTC)

names = st.sampled_from(
    [
        "session",
        "remember",
        "cart_1",
        "lang",
        "_ga",
        "_ga_X",
        "ads_id",
        "share",
        "stats",
        "late",
        "promo",
        "",
        "_GA",
        "__Host-consent",
        "__Host-x",
    ]
)
lifetimes = st.sampled_from(
    ["Max-Age=60", "Max-Age=0", "Max-Age=-1", "max-age=63072000", "Max-Age=+5", "Max-Age=x", "Max-Age=-x", "Max-Age=1e9",
     "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Expires=Wed, 09 Jun 2032 10:18:14 GMT", "expires=Wed, 09-Jun-2027 10:18:14 GMT",
     "Expires=Wed, 09 Jun 20310 10:18:14 GMT", "Expires=0", "Expires=Sun Nov  6 08:49:37 2033", "Expires="]
)  # fmt: skip
attributes = st.one_of(
    lifetimes,
    st.sampled_from(
        [
            "Path=/",
            "Path=",
            "Domain=example.com",
            "Domain=",
            "Secure",
            "HttpOnly",
            "SameSite=None",
            "Partitioned",
            "",
            "x=y",
        ]
    ),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=12),
)
lines = st.builds(
    lambda name, equals, value, parts: ";".join([name + equals + value, *parts]),
    names,
    st.sampled_from(["=", "=", "=", " = ", "", "=="]),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=8),
    st.lists(attributes, max_size=4),
)
choices = st.none() | st.builds(
    Consent,
    decided_at=st.integers(-30, 420 * 24 * 60).map(lambda minutes: NOW - timedelta(minutes=minutes)),
    version=st.integers(1, 2),
    purposes=st.lists(st.sampled_from(["preferences", "analytics", "social", "advertising"])),
    granted_vendors=st.lists(st.just("google-analytics")),
    granted_cookies=st.lists(st.sampled_from(["share", "ads_id"])),
    refused_purposes=st.lists(st.just("measurement")),
    refused_vendors=st.lists(st.just("ads")),
    refused_cookies=st.lists(st.sampled_from(["_ga", "_ga_*"])),
    id=st.just("x"),
    measured_since=st.just(NOW - timedelta(days=30)),
)
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def sent(policy, choice):
    return None if choice is None else policy.consent_cookie(choice, NOW).partition(";")[0]


def view(policy, choice):
    return view_visitor(
        policy.compiled,
        [choice] if choice else [],
        Circumstances(now=NOW),
        partial(permissions_on, policy.compiled),
    )


def stored(values):
    """What the standard library's cookie jar keeps: an independent reader."""

    class Response:
        def info(self):
            from email.message import Message

            message = Message()
            for value in values:
                message["Set-Cookie"] = value
            return message

    with patch("http.cookiejar.time.time", return_value=NOW.timestamp()):
        return CookieJar().make_cookies(Response(), Request("https://www.example.com/page"))


@relaxed
@given(st.lists(lines, max_size=4), choices)
def test_no_consent_no_cookie(both_doors, policy, emitted, choice):
    """Promises 1 and 2: whatever an app emits, what is stored was agreed to and ends in time."""
    state = view(policy, choice)
    for exchanges in both_doors:
        answer = exchanges.run_lines(*emitted, cookie=sent(policy, choice))
        leaving = [line for line in answer.cookies() if not line.startswith("__Host-consent=")]
        kept = {line for line in leaving if not read_set_cookie(line).attributes.life(NOW).deletes}
        for cookie in stored(kept):
            rule = policy.registry.classify(cookie.name)
            assert rule is not None
            assert state.permissions.allows_rule(rule)
            if cookie.expires is not None:
                end = datetime.fromtimestamp(cookie.expires, UTC)
                assert end <= CAP
                assert rule.purpose not in policy.compiled.by_consent or end <= state.ends
                assert rule.lifetime != "session"


@relaxed
@given(st.lists(lines, max_size=4), choices)
def test_what_leaves_was_sent_or_is_plain(both_doors, policy, emitted, choice):
    """Promises 3 and 4: a line leaves as it came, in order, or with one plain lifetime; deletions are anew."""
    state = view(policy, choice)
    for exchanges in both_doors:
        answer = exchanges.run_lines(*emitted, cookie=sent(policy, choice))
        rest = iter(emitted)
        for line in answer.cookies():
            cookie = read_set_cookie(line)
            origin = next(
                before for before in rest if before == line or read_set_cookie(before).name == cookie.name
            )
            if origin != line:
                assert cookie.attributes.life(NOW).clear
                assert line.lower().count("max-age=") <= 1 + origin.lower().count("max-age=") * (
                    "xmax-age" in line
                )
            rule = policy.registry.classify(cookie.name)
            if cookie.attributes.life(NOW).deletes and not (rule and state.permissions.allows_rule(rule)):
                assert cookie.value == "" or cookie.name == "__Host-consent"


@relaxed
@given(st.lists(lines, max_size=4), choices)
def test_twice_is_once(both_doors, policy, emitted, choice):
    """Promise 8: what has left once leaves again as it is, with the same headers."""
    for exchanges in both_doors:
        cookie = sent(policy, choice)
        once = exchanges.run_lines(*emitted, cookie=cookie).headers[1:]
        twice = exchanges.run(once, cookie=cookie).headers[1:]
        assert sorted(twice) == sorted(once)


@relaxed
@given(
    st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=80),
    st.sampled_from(["__Host-consent=", "__Host-consent=eyJ0IjoxfQ.", ""]),
)
def test_doubt_is_no_consent(both_doors, garbage, start):
    """Promise 5: whatever stands in a request, it is answered, and grants nothing."""
    for exchanges in both_doors:
        answer = exchanges.run_lines("_ga=1", "session=1", cookie=start + garbage)
        assert (answer.status, answer.cookies()) == (200, ["session=1"])


@relaxed
@given(
    st.lists(
        st.sampled_from(["session=1", "_ga=2", "ads_id=3", "promo=4", "stats=5", " odd", '"q"=1', "_ga", ""]),
        max_size=6,
    ),
    choices,
)
def test_the_app_sees_what_is_allowed(both_doors, policy, pairs, choice):
    """The app sees the request's cookies less those that lack consent, octet by octet and in order."""
    state = view(policy, choice)

    def visible(pair):
        rule = policy.registry.classify(pair.partition("=")[0].strip())
        if rule is not None and rule.purpose == "measurement" and choice and state.measured_since is None:
            return False
        return rule is None or state.permissions.allows_rule(rule)

    own = sent(policy, choice)
    everything = [*pairs, *([own] if own else [])]
    expected = ";".join(pair for pair in everything if visible(pair))
    if expected != ";".join(everything):
        expected = expected.lstrip(" ")
    for exchanges in both_doors:
        assert (exchanges.visible(";".join(everything)) or "") == expected


@pytest.mark.parametrize("days", [0, 100, 300, 390])
def test_setting_a_cookie_again_cannot_prolong_it(both_doors, make_policy, days):
    """Promise 2: however often a cookie is set, it ends with the choice that allowed it."""
    choice = Consent(decided_at=NOW, version=2, purposes=["analytics"], id="x")
    later = NOW + timedelta(days=days)
    policy = make_policy(clock=lambda: later)
    for exchanges in both_doors:
        (line,) = exchanges.run_lines(
            "_ga=1; Max-Age=63072000", cookie=sent(policy, choice), policy=policy
        ).cookies()
        seconds = read_set_cookie(line).attributes.life(later).intended
        assert later + timedelta(seconds=seconds) == CAP
