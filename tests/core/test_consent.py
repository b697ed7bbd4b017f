"""What a choice allows, and when it ends."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.consent import NO_SIGNALS, Signals, measured_only, most_restrictive

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PURPOSES = ["preferences", "analytics", "social", "advertising", "later", "unknown"]
GPC, DNT = Signals(gpc=True), Signals(dnt=True)

choices = st.builds(
    Consent,
    decided_at=st.integers(-60 * 86_400, 450 * 86_400).map(lambda ago: NOW - timedelta(seconds=ago)),
    version=st.integers(1, 3),
    purposes=st.lists(st.sampled_from(PURPOSES)),
    refused_purposes=st.lists(st.sampled_from(["measurement", "analytics"])),
    refused_vendors=st.lists(st.sampled_from(["ads", "google-analytics", "nobody"])),
    refused_cookies=st.lists(st.sampled_from(["_ga", "_ga_*", "stats", "nothing"])),
    id=st.just("x"),
    gpc=st.booleans(),
)


def standing(policy, *consents, now=NOW, signals=NO_SIGNALS):
    appraised = [consent and policy.terms.appraise(consent) for consent in consents]
    return policy.terms.standing(appraised, now, signals)


def allowed(policy, state):
    purposes = {id for id in policy.registry.purposes if state.allows(id)}
    rules = {rule.name for rule in policy.registry.cookies if state.allows_rule(rule)}
    vendors = {id for id in policy.registry.vendors if state.allows_vendor(id)}
    return purposes, rules, vendors


@given(choices, st.sampled_from([NO_SIGNALS, GPC, DNT]))
def test_what_is_remembered_is_what_would_be_worked_out(policy, choice, signals):
    """A choice stands as it would if nothing were remembered: given twice, it is worked out anew."""
    remembered, anew = (standing(policy, *[choice] * count, signals=signals) for count in (1, 2))
    assert allowed(policy, remembered) == allowed(policy, anew)
    for name in ("consent", "decided", "ask", "ends", "measured_since", "doubtful"):
        assert getattr(remembered, name) == getattr(anew, name)


@given(choices, st.sampled_from([NO_SIGNALS, GPC, DNT]))
def test_nothing_is_allowed_that_was_not_granted(policy, choice, signals):
    """What needs consent is allowed only while a choice stands that granted it and covers it."""
    state = standing(policy, choice, signals=signals)
    live = choice.decided_at <= NOW + timedelta(seconds=60) and policy.terms.grants_end(choice) > NOW
    for rule in policy.registry.cookies:
        purpose = policy.registry.purposes[rule.purpose]
        vendor = policy.registry.vendors.get(rule.vendor)
        if purpose.basis == "essential":
            assert state.allows_rule(rule)
        elif purpose.basis == "consent" and state.allows_rule(rule):
            assert live
            assert purpose.id in choice.purposes
            assert purpose.since <= choice.version
            assert vendor is None or (
                vendor.since <= choice.version and vendor.id not in choice.refused_vendors
            )
            assert rule.name not in choice.refused_cookies
            assert not (signals.gpc and purpose.sale and not choice.gpc)


@given(choices, choices)
def test_several_choices_allow_no_more_than_each(policy, one, other):
    """Two consent cookies on one request never allow what either would not."""
    both = allowed(policy, standing(policy, one, other))
    for choice in (one, other):
        each = allowed(policy, standing(policy, choice))
        assert all(narrow <= wide for narrow, wide in zip(both, each, strict=True))
    assert most_restrictive([one, one]) == one


@given(choices, st.timedeltas(timedelta(0), timedelta(days=500)))
def test_no_refusal_expires_into_a_yes(policy, choice, later):
    """As time passes a choice only loses permissions, until it is forgotten altogether."""
    if choice.decided_at > NOW + timedelta(seconds=60):
        return
    if NOW + later >= policy.terms.token_end(choice):
        return
    before = allowed(policy, standing(policy, choice))
    after = allowed(policy, standing(policy, choice, now=NOW + later))
    assert all(narrow <= wide for narrow, wide in zip(after, before, strict=True))


@given(choices)
def test_signals_only_refuse(policy, choice):
    """A signal never grants anything."""
    without = allowed(policy, standing(policy, choice))
    for signals in (GPC, DNT):
        with_signal = allowed(policy, standing(policy, choice, signals=signals))
        assert all(narrow <= wide for narrow, wide in zip(with_signal, without, strict=True))


def test_vendors_are_allowed_whole(policy):
    """A vendor's host is open only if each of its purposes is, and the choice covers it."""
    choice = Consent(decided_at=NOW, version=1, purposes=["analytics", "advertising"])
    state = standing(policy, choice)
    assert [state.allows_vendor(id) for id in ("google-analytics", "ads", "late", "nobody")] == [
        True,
        True,
        False,
        False,
    ]
    assert not standing(policy).allows_vendor("ads")


def test_a_vendor_of_two_purposes(make_policy, registry_text):
    """A vendor of two purposes needs both."""
    policy = make_policy(registry_text + '[vendors.two]\nname = "Two"\npurposes = ["analytics", "social"]\n')
    half = Consent(decided_at=NOW, version=2, purposes=["analytics"])
    whole = Consent(decided_at=NOW, version=2, purposes=["analytics", "social"])
    assert not standing(policy, half).allows_vendor("two")
    assert standing(policy, whole).allows_vendor("two")


PERIODS = '\n[consent]\nlifetime = "6 months"\nrefusal_lifetime = "3 months"\n'


def test_ends(make_policy, registry_text):
    """Grants end with the choice; the question returns then, and sooner after a refusal; objections stay."""
    policy = make_policy(registry_text + PERIODS)
    granted = Consent(decided_at=NOW, version=2, purposes=["analytics"])
    refused = Consent(decided_at=NOW, version=2, refused_purposes=["measurement"])
    mixed = Consent(decided_at=NOW, version=2, purposes=["analytics"], refused_purposes=["measurement"])

    def states(choice):
        for days in (0, 100, 200, 390, 400):
            state = standing(policy, choice, now=NOW + timedelta(days=days))
            yield state.decided, state.ask, state.allows("analytics"), state.allows("measurement")

    # decided, ask, analytics (by consent), measurement (by objection)
    assert list(states(granted)) == [
        (True, False, True, True),
        (True, False, True, True),
        (False, True, False, True),
        (False, True, False, True),
        (False, True, False, True),
    ]
    assert list(states(refused)) == [
        (True, False, False, False),
        (True, True, False, False),
        (True, True, False, False),
        (True, True, False, False),
        (False, True, False, True),
    ]
    assert list(states(mixed)) == [
        (True, False, True, False),
        (True, False, True, False),
        (False, True, False, False),
        (False, True, False, False),
        (False, True, False, True),
    ]


def test_read_consent_judges_age_by_the_time_given(make_policy, registry_text):
    """A token is remembered, its age is not: the same token ends when its time has come."""
    policy = make_policy(registry_text + PERIODS)
    granted = Consent(decided_at=NOW, version=2, purposes=["analytics"])
    token = policy.token(granted)
    for days, expected in [(0, granted), (180, granted), (182, None), (0, granted)]:
        assert policy.read_consent(token, NOW + timedelta(days=days)) == expected
    assert policy.read_consent(token, NOW - timedelta(seconds=60)) == granted
    assert policy.read_consent(token, NOW - timedelta(seconds=61)) is None


def test_a_choice_that_lacks_a_question_is_asked_again(policy):
    """What came with a later version is asked for, and all else stays."""
    old = standing(policy, Consent(decided_at=NOW, version=1, purposes=["analytics"]))
    new = standing(policy, Consent(decided_at=NOW, version=3, purposes=["analytics"]))
    assert (old.decided, old.ask, old.allows("analytics")) == (True, True, True)
    assert (new.decided, new.ask) == (True, False)


def test_nothing_to_ask(make_policy):
    """A site with nothing but essential cookies asks nobody."""
    policy = make_policy("[purposes.essential]\n")
    assert not standing(policy).ask


def test_dnt_where_honoured(make_policy, registry_text):
    """A site may honour Do Not Track: it refuses sale and objects to measurement."""
    policy = make_policy(registry_text + '\n[consent]\ndnt = "refuse"\n')
    choice = Consent(decided_at=NOW, version=2, purposes=["advertising", "analytics"])
    state = standing(policy, choice, signals=DNT)
    assert [state.allows(id) for id in ("advertising", "analytics", "measurement", "essential")] == [
        False,
        True,
        False,
        True,
    ]


def test_a_choice_made_with_the_signal_overrules_it(policy):
    """Who agreed with the signal present knew what it was."""
    choice = Consent(decided_at=NOW, version=2, purposes=["advertising"], gpc=True)
    assert standing(policy, choice, signals=GPC).allows("advertising")


def test_naive_times_are_refused():
    """A time without a zone is a mistake, not a guess."""
    with pytest.raises(ValueError, match="decided_at"):
        Consent(decided_at=datetime(2026, 1, 1), version=1)  # noqa: DTZ001 - the point


def test_a_dated_visitor_without_a_choice_is_undecided(policy):
    """The note of when measurement began is no choice, and a date in a choice ends with its period."""
    noted = standing(policy, measured_only(NOW))
    assert (noted.consent, noted.decided, noted.ask) == (None, False, True)
    assert noted.measured_since == NOW.replace(hour=0)
    old = Consent(decided_at=NOW, version=2, purposes=["analytics"], measured_since=NOW - timedelta(days=390))
    before, after = (standing(policy, old, now=NOW + timedelta(days=days)) for days in (0, 30))
    assert before.measured_since == old.measured_since
    assert after.measured_since is None
    assert after.decided
