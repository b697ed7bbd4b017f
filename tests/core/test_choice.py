"""From answers to choices."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.choice import Answer, Choice, Grants, Moment, decide, refusal, with_grants
from consent_middleware.core.consent import NO_SIGNALS, Signals
from consent_middleware.core.permissions import permissions_on
from consent_middleware.core.visitor import Circumstances, view_visitor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TODAY = NOW.replace(hour=0)
MOMENT = Moment(now=NOW, new_id="id")
ALWAYS = {"session", "remember", "cart_*"}
FREE = ALWAYS | {"stats"}


def view(policy, choice, signals=NO_SIGNALS, now=NOW, model="opt-in"):
    around = Circumstances(now=now, signals=signals, model=model)
    return view_visitor(policy.compiled, [choice], around, partial(permissions_on, policy.compiled))


def cookies_of(policy, choice, **around):
    permissions = view(policy, choice, **around).permissions
    return {rule.name for rule in policy.registry.cookies if permissions.allows_rule(rule)}


@pytest.fixture(scope="module")
def outcome(policy):
    """The choice that an answer makes, and what holds after it."""

    def after(choice="save", before=None, moment=MOMENT, **said):
        made = decide(Answer(choice=Choice(choice), **said), policy.compiled, moment, before)
        return made, view(policy, made).permissions

    return after


@pytest.mark.parametrize(
    ("said", "cookies"),
    [
        ({"choice": "accept-all"}, FREE | {"lang", "_ga", "_ga_*", "late", "ads_id", "share", "fresh"}),
        ({"choice": "reject-all"}, ALWAYS),
        ({"choice": "withdraw"}, ALWAYS),
        ({}, FREE),
        ({"purposes": {"analytics": True}}, FREE | {"_ga", "_ga_*", "late"}),
        ({"purposes": {"analytics": False, "measurement": False}}, ALWAYS),
        ({"purposes": {"analytics": True}, "vendors": {"google-analytics": False}}, FREE | {"late"}),
        ({"purposes": {"analytics": True}, "cookies": {"_ga": False}}, FREE | {"_ga_*", "late"}),
        ({"vendors": {"google-analytics": True}}, FREE | {"_ga", "_ga_*"}),
        ({"cookies": {"_ga_*": True}}, FREE | {"_ga_*"}),
        ({"vendors": {"google-analytics": True}, "cookies": {"_ga": False}}, FREE | {"_ga_*"}),
        ({"vendors": {"google-analytics": False}, "cookies": {"_ga": True}}, FREE),
        ({"cookies": {"share": True}}, FREE | {"share"}),
        ({"purposes": {"measurement": False}, "cookies": {"stats": True}}, ALWAYS),
        ({"cookies": {"stats": False}}, ALWAYS),
        ({"purposes": {"essential": False}, "cookies": {"session": False}}, FREE),
        ({"cookies": {"nothing of ours": True}, "vendors": {"nobody": True}}, FREE),
    ],
)
def test_what_an_answer_allows(policy, outcome, said, cookies):
    """Each answer allows the cookies that a person would expect, and no other."""
    assert cookies_of(policy, outcome(**said)[0]) == cookies


def test_granted_alone_is_kept_as_such(outcome):
    """A vendor without its purpose is kept by its name, not as the purpose less all else of today."""
    made, permissions = outcome(vendors={"ads": True}, cookies={"share": True})
    assert (made.purposes, made.granted_vendors, made.granted_cookies) == ((), ("ads",), ("share",))
    assert (made.refused_vendors, made.refused_cookies) == ((), ())
    assert not permissions.allows("advertising")


def test_a_yes_that_its_purpose_says_is_not_kept_twice(outcome):
    """Where the purpose is granted, its vendors and cookies follow it."""
    made, _ = outcome(purposes={"advertising": True}, vendors={"ads": True}, cookies={"ads_id": True})
    assert (made.granted_vendors, made.granted_cookies) == ((), ())


def test_a_refused_cookie_opens_nothing(outcome):
    """A yes to a cookie whose vendor is refused grants nothing."""
    made, permissions = outcome(vendors={"google-analytics": False}, cookies={"_ga": True})
    assert not made.grants
    assert not permissions.allows("analytics")


def test_ids_of_choices(outcome):
    """A choice that grants has the id that it is given; one that grants nothing has none."""
    assert outcome("accept-all")[0].id == "id"
    assert outcome("save", vendors={"ads": True})[0].id == "id"
    assert outcome("reject-all")[0].id is None
    assert outcome()[0].id is None


def test_a_vendor_alone_opens_no_other(make_policy):
    """A yes to one vendor without its purpose does not open the hosts of others that serve the purpose too."""
    policy = make_policy(
        """
[vendors.chosen]
name = "Chosen"
purposes = ["social"]
[vendors.both]
name = "Both"
purposes = ["social", "analytics"]
[[cookies]]
name = "a"
purpose = "analytics"
vendor = "both"
"""
    )
    said = Answer(choice=Choice.SAVE, purposes={"analytics": True}, vendors={"chosen": True})
    permissions = view(policy, decide(said, policy.compiled, MOMENT)).permissions
    assert permissions.allows_vendor("chosen")
    assert not permissions.allows_vendor("both")


answers = st.dictionaries(st.sampled_from(["analytics", "social", "measurement", "later"]), st.booleans())
vendors = st.dictionaries(st.sampled_from(["google-analytics", "ads", "late"]), st.booleans())
cookies = st.dictionaries(
    st.sampled_from(["_ga", "_ga_*", "late", "ads_id", "share", "stats"]), st.booleans()
)


@given(answers, vendors, cookies)
def test_no_and_silence_never_allow(policy, outcome, purposes, vendors, cookies):
    """What was refused, or not named with its purpose or vendor, is never allowed; what was named is."""
    _, permissions = outcome(purposes=purposes, vendors=vendors, cookies=cookies)
    for rule in policy.registry.cookies:
        if rule.purpose in policy.compiled.essential:
            continue
        refused = vendors.get(rule.vendor) is False or cookies.get(rule.name) is False
        if rule.purpose in policy.compiled.by_objection:
            named = purposes.get(rule.purpose, True)
        else:
            named = purposes.get(rule.purpose) or vendors.get(rule.vendor) or cookies.get(rule.name)
        assert permissions.allows_rule(rule) == (bool(named) and not refused), rule.name


@given(
    vendors, cookies, st.sampled_from(["save", "reject-all", "withdraw"]),
    st.datetimes(datetime(2026, 11, 23), datetime(2026, 11, 23, 23, 59), timezones=st.just(UTC)), st.booleans(),  # noqa: DTZ001 - given a zone
)  # fmt: skip
def test_a_refusal_tells_nobody_apart(policy, vendors, cookies, choice, now, gpc):
    """Who refuses alike on one day holds the same choice: no time of day, no id, nothing that has no effect."""
    no = {kind: dict.fromkeys(said, False) for kind, said in (("vendors", vendors), ("cookies", cookies))}
    made = decide(Answer(choice=Choice(choice), **no), policy.compiled, Moment(now=now, new_id="id", gpc=gpc))
    objected = choice != "save"
    assert made == Consent(
        decided_at=TODAY,
        version=2,
        refused_purposes=["measurement"] if objected else [],
        refused_cookies=[name for name in cookies if name == "stats" and not objected],
    )


def test_refusal(policy):
    """Reject-all and withdrawal leave the same choice, which objects to what needs no consent."""
    made = refusal(policy.compiled, NOW)
    assert made == decide(Answer(choice=Choice.WITHDRAW), policy.compiled, MOMENT)
    assert (made.refused_purposes, made.decided_at) == (("measurement",), TODAY)


# What adds to a choice.

GRANTED = Consent(decided_at=NOW - timedelta(days=30), version=2, purposes=["analytics"], id="old")
REFUSED = Consent(decided_at=TODAY - timedelta(days=30), version=2, refused_purposes=["measurement"])


def added(policy, before, moment=MOMENT, **names):
    grants = Grants(**{kind: frozenset(ids) for kind, ids in names.items()})
    return with_grants(before, grants, policy.compiled, moment)


def test_adding_touches_nothing_else(policy, outcome):
    """`add` keeps date, id and every other answer; a yes undoes a refusal of the same."""
    before = replace(GRANTED, refused_vendors=("ads",), refused_cookies=("_ga",))
    made, _ = outcome("add", before, vendors={"ads": True})
    assert made == replace(before, granted_vendors=("ads",), refused_vendors=())
    made, _ = outcome("add", before, cookies={"_ga": True})
    assert made == replace(before, refused_cookies=())


def test_adding_to_a_refusal(policy):
    """A refusal that something is added to keeps its date and its objections, and gets an id."""
    made = added(policy, REFUSED, vendors=["ads"])
    assert made == replace(REFUSED, granted_vendors=("ads",), id="id")
    assert view(policy, made).decided


def test_adding_where_nobody_was_asked(policy):
    """The rest stays "not asked": it is no refusal, and the visitor is still to be asked."""
    made = added(policy, None, purposes=["social"])
    assert (made.purposes, made.decided_at, made.id, made.asked) == (("social",), NOW, "id", False)
    state = view(policy, made)
    assert (state.decided, state.ask) == (False, True)
    assert "_ga" in cookies_of(policy, made, model="opt-out")
    again = added(policy, made, vendors=["ads"])
    assert (again.asked, again.decided_at) == (False, NOW)


def test_adding_to_a_note_of_measurement(policy):
    """The note of when measurement began is no choice, so the choice begins now."""
    note = Consent(decided_at=TODAY, version=2, measured_since=TODAY, asked=False)
    made = added(policy, note, purposes=["social"])
    assert (made.decided_at, made.measured_since, made.asked) == (NOW, TODAY, False)


def test_adding_what_came_later(policy):
    """What is added is covered; what else came since the choice stays closed."""
    old = replace(GRANTED, version=1)
    made = added(policy, old, purposes=["later"])
    assert made.version == 2
    assert cookies_of(policy, made) == FREE | {"_ga", "_ga_*", "fresh"}
    alone = added(policy, old, vendors=["late"])
    assert cookies_of(policy, alone) == FREE | {"_ga", "_ga_*", "late"}


def test_adding_with_the_signal_present(policy):
    """A yes in the signal's presence opens what was named, and nothing that was granted before it."""
    before = replace(GRANTED, purposes=("advertising", "analytics"), granted_cookies=("share",))
    made = added(policy, before, Moment(now=NOW, new_id="id", gpc=True), purposes=["social"])
    assert cookies_of(policy, made, signals=Signals(gpc=True)) == FREE | {"_ga", "_ga_*", "late", "share"}


def test_adding_without_the_signal_that_was_there(policy):
    """What sells and is added without the signal is refused once the signal is there again."""
    before = replace(GRANTED, gpc=True)
    sold, other = added(policy, before, vendors=["ads"]), added(policy, before, purposes=["social"])
    assert "ads_id" in cookies_of(policy, sold)
    assert "ads_id" not in cookies_of(policy, sold, signals=Signals(gpc=True))
    assert (sold.gpc, other.gpc) == (False, True)


def test_a_grant_lifts_no_signal_from_what_a_law_model_opens(policy):
    """Under opt-out, what was granted in the signal's presence opens nothing else that the signal refuses."""
    made = added(policy, None, Moment(now=NOW, new_id="id", gpc=True), purposes=["analytics"])
    opened = cookies_of(policy, made, model="opt-out", signals=Signals(gpc=True))
    assert "_ga" in opened
    assert "ads_id" not in opened


def test_adding_after_the_lifetime(make_policy, registry_text):
    """A refusal may be kept for longer than a grant could last: what is added to it then begins now."""
    policy = make_policy(registry_text + '\n[consent]\nlifetime = "6 months"\n')
    old = replace(REFUSED, decided_at=TODAY - timedelta(days=300))
    made = added(policy, old, purposes=["analytics"])
    assert made.decided_at == NOW
    assert "_ga" in cookies_of(policy, made)


ids = st.frozensets(st.sampled_from(["analytics", "social", "advertising", "later", "measurement"]))
alone = st.frozensets(st.sampled_from(["ads", "google-analytics", "late", "nobody"]))
names = st.frozensets(st.sampled_from(["_ga", "share", "late", "stats", "session", "nothing"]))


@given(answers, vendors, cookies, ids, alone, names, st.sampled_from([1, 2]))
def test_adding_opens_only_what_is_named(
    policy, outcome, purposes, vendors, cookies, more, one, few, version
):
    """After something was added, nothing else is open that was not, and nothing that was has closed."""
    before = replace(outcome(purposes=purposes, vendors=vendors, cookies=cookies)[0], version=version)
    made = added(policy, before, purposes=more, vendors=one, cookies=few)
    opened = cookies_of(policy, made) - cookies_of(policy, before)
    for name in opened:
        rule = next(rule for rule in policy.registry.cookies if rule.name == name)
        assert rule.purpose in more or rule.vendor in one or rule.name in few
    assert cookies_of(policy, before) <= cookies_of(policy, made)
    assert made.decided_at == before.decided_at
