"""Verdicts are remembered; what is decided is the same as if each line were the first."""

from datetime import UTC, datetime, timedelta
from functools import partial

from hypothesis import example, given
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.filtering import Filter
from consent_middleware.core.permissions import permissions_on
from consent_middleware.core.set_cookie import imf_fixdate
from consent_middleware.core.verdict import ResponseContext
from consent_middleware.core.visitor import Circumstances, view_visitor

# In two seconds thirteen months are a day shorter: January has a 31st, February has none.
NOW = datetime(2027, 1, 30, 23, 59, 58, tzinfo=UTC)
LATE, LATER = "Wed, 09 Jun 2032 10:18:14 GMT", "Wed, 09 Jun 2027 10:18:14 GMT"
PAST = "Thu, 01 Jan 1970 00:00:00 GMT"
OWN = frozenset({"__Host-consent", "consent"})

names = st.sampled_from(
    [
        "session",
        "remember",
        "cart_1",
        "lang",
        "_ga",
        "_ga_X",
        "ads_id",
        "stats",
        "promo",
        "",
        "__Host-consent",
        "__Host-x",
    ]
)
values = st.sampled_from(["1", "", "good", "a=b", "x" * 4097, "caf\xe9", "a\x07b", " pad "])
attributes = st.sampled_from(
    ["Max-Age=60", "Max-Age=0", "max-age=63072000", "Max-Age=-1", "Max-Age=x", "Path=/", "Path=/a", "Domain=example.com",
     "Secure", "HttpOnly", "SameSite=None", "Partitioned", "", "x\xe9", "Expires=Wed, 09 Jun 2032 10:18:14 GMT",
     "expires=Thu, 01 Jan 1970 00:00:00 GMT", "Expires=Sun, 31 Jan 2027 00:00:01 GMT", "Expires=Mon, 31 Feb 2027 10:18:14 GMT",
     "Expires=Wed, 09-Jun-2027 10:18:14 GMT", "Expires=Fri, 01 Jan 1500 00:00:00 GMT", "Expires=0"]
)  # fmt: skip
lines = st.builds(
    lambda name, equals, value, parts: "; ".join([name + equals + value, *parts]),
    names,
    st.sampled_from(["=", "=", "=", ""]),
    values,
    st.lists(attributes, max_size=4),
)
choices = st.none() | st.builds(
    Consent,
    decided_at=st.sampled_from([NOW - timedelta(days=days) for days in (0, 100, 394)]),
    version=st.integers(1, 2),
    purposes=st.lists(st.sampled_from(["preferences", "analytics", "advertising"]), max_size=2),
    granted_vendors=st.lists(st.just("ads"), max_size=1),
    refused_cookies=st.lists(st.just("_ga"), max_size=1),
    measured_since=st.sampled_from([None, NOW - timedelta(days=390)]),
)
moments = st.sampled_from(
    [timedelta(0), timedelta(seconds=1), timedelta(seconds=3), timedelta(days=2), timedelta(days=-1)]
)
dates = st.sampled_from(
    [
        [],
        [],
        [("Date", imf_fixdate(NOW))],
        [("date", imf_fixdate(NOW + timedelta(days=9)))],
        [("Date", "today")],
    ]
)


@given(
    st.lists(st.tuples(lines, choices, moments, dates, st.sampled_from(["opt-in", "opt-out"])), max_size=12)
)
@example([("session=1; max-age=63072000", None, timedelta(seconds=s), [], "opt-in") for s in (0, 3)])
@example([("_ga=1; Expires=" + end, None, timedelta(0), [], "opt-out") for end in (LATE, PAST, LATER)])
@example([("_ga" + value, None, timedelta(0), [], "opt-out") for value in ("=1", "", "=\x07", "=2")])
def test_remembered_verdicts_change_nothing(policy, asked):
    """Whatever came before, on whichever day and for whom: a line is judged as by one who remembers nothing."""
    permissions = {}

    def shared(grounds):
        return permissions.setdefault(grounds, permissions_on(policy.compiled, grounds))

    one = Filter(policy.compiled, OWN, lambda value: value == "good")
    for line, choice, later, fields, model in asked:
        around = Circumstances(now=NOW + later, model=model)
        chosen = [choice] if choice else []
        remembering = ResponseContext.of(
            view_visitor(policy.compiled, chosen, around, shared), NOW + later, fields
        )
        view = view_visitor(policy.compiled, chosen, around, partial(permissions_on, policy.compiled))
        anew = Filter(policy.compiled, OWN, lambda value: value == "good")
        fresh = ResponseContext.of(view, NOW + later, fields)
        assert one.judge(line, remembering).decision == anew.judge(line, fresh).decision
