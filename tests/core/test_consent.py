"""What a choice allows, and when it ends."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.consent import NO_SIGNALS, Signals, measured, most_restrictive
from consent_middleware.core.permissions import permissions_on
from consent_middleware.core.visitor import Circumstances, view_visitor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PURPOSES = ["preferences", "analytics", "social", "advertising", "later", "unknown"]
GPC, DNT = Signals(gpc=True), Signals(dnt=True)
MODELS = ["opt-in", "opt-out", "none"]

choices = st.builds(
    Consent,
    decided_at=st.integers(-60 * 86_400, 450 * 86_400).map(lambda ago: NOW - timedelta(seconds=ago)),
    version=st.integers(1, 3),
    purposes=st.lists(st.sampled_from(PURPOSES)),
    granted_vendors=st.lists(st.sampled_from(["ads", "google-analytics", "late", "nobody"])),
    granted_cookies=st.lists(st.sampled_from(["_ga", "share", "fresh", "nothing"])),
    refused_purposes=st.lists(st.sampled_from(["measurement", "analytics"])),
    refused_vendors=st.lists(st.sampled_from(["ads", "google-analytics", "nobody"])),
    refused_cookies=st.lists(st.sampled_from(["_ga", "_ga_*", "stats", "nothing"])),
    id=st.just("x"),
    gpc=st.booleans(),
    dnt=st.booleans(),
    asked=st.booleans(),
)
signals = st.sampled_from([NO_SIGNALS, GPC, DNT, Signals(gpc=True, dnt=True)])
models = st.sampled_from(MODELS)


def view(policy, *consents, now=NOW, signals=NO_SIGNALS, model="opt-in"):
    around = Circumstances(now=now, signals=signals, model=model)
    return view_visitor(policy.compiled, consents, around, partial(permissions_on, policy.compiled))


def allowed(policy, state):
    permissions = state.permissions
    purposes = {id for id in policy.registry.purposes if permissions.allows(id)}
    rules = {rule.name for rule in policy.registry.cookies if permissions.allows_rule(rule)}
    return purposes, rules, permissions.allowed_vendors()


def within(narrow, wide):
    return all(few <= many for few, many in zip(narrow, wide, strict=True))


@given(choices, signals, models, st.timedeltas(timedelta(0), timedelta(days=500)))
def test_a_view_holds_as_long_as_it_says(policy, choice, signals, model, later):
    """Between the two moments that a view names, everything about the visitor stays as it is."""
    first = view(policy, choice, signals=signals, model=model)
    if not first.since <= NOW + later < first.until:
        return
    second = view(policy, choice, now=NOW + later, signals=signals, model=model)
    assert allowed(policy, first) == allowed(policy, second)
    for name in ("consent", "decided", "ask", "ends", "measured_since", "doubtful", "live_consent"):
        assert getattr(first, name) == getattr(second, name)


@given(choices, signals)
def test_nothing_is_allowed_that_was_not_granted(policy, choice, signals):
    """What needs consent is allowed only while a choice stands that granted it and covers it."""
    permissions = view(policy, choice, signals=signals).permissions
    live = choice.decided_at <= NOW + timedelta(seconds=60) and policy.compiled.ends(choice) > NOW
    for rule in policy.registry.cookies:
        purpose = policy.registry.purposes[rule.purpose]
        vendor = policy.registry.vendors.get(rule.vendor)
        refused = rule.name in choice.refused_cookies or rule.vendor in choice.refused_vendors
        covered = purpose.since <= choice.version and (vendor is None or vendor.since <= choice.version)
        named = (
            purpose.id in choice.purposes
            or rule.vendor in choice.granted_vendors
            or rule.name in choice.granted_cookies
        )
        signalled = signals.gpc and purpose.sale and not choice.gpc
        if purpose.basis == "essential":
            assert permissions.allows_rule(rule)
        elif purpose.basis == "consent":
            expected = live and covered and named and not refused and not signalled
            assert permissions.allows_rule(rule) == expected, rule.name


@given(choices, choices)
def test_several_choices_allow_no_more_than_each(policy, one, other):
    """Two consent cookies on one request never allow what either would not."""
    both = allowed(policy, view(policy, one, other))
    # The note of when measurement began is no choice.
    for choice in filter(lambda choice: choice.is_choice, (one, other)):
        assert within(both, allowed(policy, view(policy, choice)))
    assert most_restrictive([one, one]) == one


@given(choices, st.timedeltas(timedelta(0), timedelta(days=500)))
def test_no_refusal_expires_into_a_yes(policy, choice, later):
    """As time passes a choice only loses permissions, until it is forgotten altogether."""
    if choice.decided_at > NOW + timedelta(seconds=60) or not policy.compiled.is_kept(choice, NOW + later):
        return
    assert within(
        allowed(policy, view(policy, choice, now=NOW + later)), allowed(policy, view(policy, choice))
    )


@given(choices, models)
def test_signals_only_refuse(policy, choice, model):
    """A signal never grants anything, in any law model."""
    for given_choices in ([], [choice]):
        without = allowed(policy, view(policy, *given_choices, model=model))
        for present in (GPC, DNT):
            with_signal = view(policy, *given_choices, model=model, signals=present)
            assert within(allowed(policy, with_signal), without)


@given(choices, signals, models)
@example(Consent(decided_at=NOW, version=2, refused_cookies=["_ga"], asked=False), NO_SIGNALS, "opt-out")
@example(
    Consent(decided_at=NOW, version=2, refused_purposes=["measurement"], asked=False), NO_SIGNALS, "none"
)
@example(Consent(decided_at=NOW, version=2, refused_vendors=["ads"], asked=False), NO_SIGNALS, "none")
def test_a_refusal_wins_in_every_law_model(policy, choice, signals, model):
    """Once a visitor was asked and answered, the law model opens nothing; nor does what is doubtful."""
    answered = view(policy, choice, signals=signals)
    elsewhere = view(policy, choice, signals=signals, model=model)
    if choice.asked or answered.doubtful:
        assert allowed(policy, elsewhere) == allowed(policy, answered)
    purposes, rules, _ = allowed(policy, elsewhere)
    assert (
        not {"google-analytics", "ads"}
        & set(choice.refused_vendors)
        & elsewhere.permissions.allowed_vendors()
    )
    if not elsewhere.doubtful:
        assert not rules & set(choice.refused_cookies)
        assert not purposes & {"measurement"} & set(choice.refused_purposes)
    doubt = allowed(policy, view(policy, None, signals=signals, model=model))
    assert doubt == allowed(policy, view(policy, signals=signals))


@pytest.mark.parametrize("model", MODELS)
def test_before_a_choice(policy, model):
    """Each law model says what is open, and whether to ask, before anything was chosen."""
    nobody = view(policy, model=model)
    assert nobody.permissions.allows("analytics") is (model != "opt-in")
    assert nobody.permissions.allows("measurement")
    assert nobody.permissions.allows_vendor("ads") is (model != "opt-in")
    assert (nobody.decided, nobody.ask, nobody.ends) == (False, model != "none", None)


def test_granted_alone_opens_just_that(policy):
    """A vendor or cookie without its purpose opens itself; the purpose stays refused."""
    ads = view(policy, Consent(decided_at=NOW, version=2, granted_vendors=["ads"])).permissions
    assert ads.allows_vendor("ads")
    assert not ads.allows("advertising")
    share = view(policy, Consent(decided_at=NOW, version=2, granted_cookies=["share"]))
    assert allowed(policy, share)[1] == {"session", "remember", "cart_*", "stats", "share"}
    assert share.decided
    assert not share.ask


def test_granted_alone_stays_alone(make_policy, registry_text):
    """What the registry gains later under the same purpose, at the same version, stays closed."""
    grown = make_policy(
        registry_text
        + '[vendors.more]\nname = "More"\n[[cookies]]\nname = "more"\npurpose = "advertising"\nvendor = "more"\n'
        + '[[cookies]]\nname = "own"\npurpose = "advertising"\n'
    )
    choice = Consent(decided_at=NOW, version=2, granted_vendors=["ads"])
    _, rules, vendors = allowed(grown, view(grown, choice))
    assert vendors == {"ads"}
    assert not rules & {"more", "own"}


def test_granted_alone_is_covered_like_all_else(make_policy, registry_text):
    """A vendor granted alone stays closed for a purpose, or from a version, that came after the choice."""
    policy = make_policy(registry_text + '[vendors.two]\nname = "Two"\npurposes = ["social", "later"]\n')
    for version, expected in ((1, False), (2, True)):
        choice = Consent(decided_at=NOW, version=version, granted_vendors=["two", "late"])
        permissions = view(policy, choice).permissions
        assert permissions.allows_vendor("two") is expected
        assert permissions.allows_vendor("late") is expected


def test_a_signal_closes_what_was_granted_alone(policy):
    """A vendor or cookie that sells is refused by the signal too, unless it was granted in its presence."""
    for gpc in (False, True):
        choice = Consent(decided_at=NOW, version=2, granted_vendors=["ads"], gpc=gpc)
        permissions = view(policy, choice, signals=GPC).permissions
        assert permissions.allows_vendor("ads") is gpc
        assert permissions.allows_rule(policy.registry.classify("ads_id")) is gpc


def test_vendors_are_allowed_whole(policy):
    """A vendor's host is open only if each of its purposes is, and the choice covers it."""
    choice = Consent(decided_at=NOW, version=1, purposes=["analytics", "advertising"])
    permissions = view(policy, choice).permissions
    found = [permissions.allows_vendor(id) for id in ("google-analytics", "ads", "late", "nobody")]
    assert found == [True, True, False, False]
    assert not view(policy).permissions.allows_vendor("ads")


def test_a_vendor_of_two_purposes(make_policy, registry_text):
    """A vendor of two purposes needs both."""
    policy = make_policy(registry_text + '[vendors.two]\nname = "Two"\npurposes = ["analytics", "social"]\n')
    half = Consent(decided_at=NOW, version=2, purposes=["analytics"])
    whole = Consent(decided_at=NOW, version=2, purposes=["analytics", "social"])
    assert not view(policy, half).permissions.allows_vendor("two")
    assert view(policy, whole).permissions.allows_vendor("two")


PERIODS = '\n[consent]\nlifetime = "6 months"\nrefusal_lifetime = "3 months"\n'


def test_ends(make_policy, registry_text):
    """A choice has one end; the question returns then, and sooner after a refusal; refusals stay."""
    policy = make_policy(registry_text + PERIODS)
    granted = Consent(decided_at=NOW, version=2, purposes=["analytics"])
    refused = Consent(decided_at=NOW, version=2, refused_purposes=["measurement"])
    mixed = Consent(decided_at=NOW, version=2, purposes=["analytics"], refused_purposes=["measurement"])

    def states(choice):
        for days in (0, 100, 200, 390, 400):
            state = view(policy, choice, now=NOW + timedelta(days=days))
            permissions = state.permissions
            yield state.decided, state.ask, permissions.allows("analytics"), permissions.allows("measurement")

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
    granted = Consent(decided_at=NOW, version=2, purposes=["analytics"], refused_purposes=["measurement"])
    token = policy.token(granted)
    for days, expected in [(0, granted), (180, granted), (182, None), (0, granted)]:
        assert policy.read_consent(token, NOW + timedelta(days=days)) == expected
    assert policy.read_consent(token, NOW - timedelta(seconds=60)) == granted
    assert policy.read_consent(token, NOW - timedelta(seconds=61)) is None


def test_a_choice_that_lacks_a_question_is_asked_again(policy):
    """What came with a later version is asked for, and all else stays."""
    old = view(policy, Consent(decided_at=NOW, version=1, purposes=["analytics"]))
    new = view(policy, Consent(decided_at=NOW, version=3, purposes=["analytics"]))
    assert (old.decided, old.ask, old.permissions.allows("analytics")) == (True, True, True)
    assert (new.decided, new.ask) == (True, False)


def test_where_nobody_was_asked_the_question_stays(policy):
    """A grant by the site's own control answers nothing else: the visitor is undecided, and is asked."""
    state = view(policy, Consent(decided_at=NOW, version=2, purposes=["social"], asked=False))
    assert (state.decided, state.ask) == (False, True)
    assert state.permissions.allows("social")
    assert not state.permissions.allows("analytics")
    assert not state.permissions.decided


def test_nothing_to_ask(make_policy):
    """A site with nothing but essential cookies asks nobody."""
    assert not view(make_policy("[purposes.essential]\n")).ask


def test_dnt_where_honoured(make_policy, registry_text):
    """A site may honour Do Not Track: it refuses sale and objects to measurement."""
    policy = make_policy(registry_text + '\n[consent]\ndnt = "refuse"\n')
    choice = Consent(decided_at=NOW, version=2, purposes=["advertising", "analytics"])
    permissions = view(policy, choice, signals=DNT).permissions
    found = [permissions.allows(id) for id in ("advertising", "analytics", "measurement", "essential")]
    assert found == [False, True, False, True]


def test_a_choice_made_with_the_signal_overrules_it(policy):
    """Who agreed with the signal present knew what it was."""
    choice = Consent(decided_at=NOW, version=2, purposes=["advertising"], gpc=True)
    assert view(policy, choice, signals=GPC).permissions.allows("advertising")


def test_a_choice_made_with_one_signal_overrules_no_other(make_policy, registry_text):
    """Who agreed with one signal present said nothing in the presence of the other."""
    policy = make_policy(registry_text + '\n[consent]\ndnt = "refuse"\n')
    for made_with, present in ((GPC, DNT), (DNT, GPC)):
        choice = Consent(decided_at=NOW, version=2, purposes=["advertising"], **made_with._asdict())
        assert not view(policy, choice, signals=present).permissions.allows("advertising")
        assert view(policy, choice, signals=made_with).permissions.allows("advertising")


def test_of_two_choices_both_must_overrule_a_signal():
    """The most restrictive reading of two choices overrules what both do."""
    one = Consent(decided_at=NOW, version=2, gpc=True, dnt=True)
    for other, expected in (({"gpc": True}, GPC), ({"dnt": True}, DNT), ({}, NO_SIGNALS)):
        both = most_restrictive([one, Consent(decided_at=NOW, version=2, **other)])
        assert both.signals == expected


def test_a_vendor_that_came_later_for_its_cookies(make_policy, registry_text):
    """A vendor whose own purposes need no consent counts as added later for those of its cookies that do."""
    later = """
[vendors.mixed]
name = "Mixed"
purposes = ["essential"]
since = 2
[[cookies]]
name = "mixed"
purpose = "analytics"
vendor = "mixed"
"""
    policy = make_policy(registry_text + later)
    for version, expected in ((1, False), (2, True)):
        choice = Consent(decided_at=NOW, version=version, purposes=["analytics"])
        permissions = view(policy, choice).permissions
        assert permissions.allows_rule(policy.registry.classify("mixed")) is expected
        assert permissions.allows_vendor("mixed")


def test_naive_times_are_refused():
    """A time without a zone is a mistake, not a guess."""
    with pytest.raises(ValueError, match="decided_at"):
        Consent(decided_at=datetime(2026, 1, 1), version=1)  # noqa: DTZ001 - the point


def test_no_id_in_what_is_printed():
    """The id of a choice names its visitor's record, so no log and no traceback shows it."""
    assert "secret" not in repr(Consent(decided_at=NOW, version=1, id="secret"))


def test_a_dated_visitor_without_a_choice_is_undecided(policy):
    """The note of when measurement began is no choice, and a date in a choice ends with its period."""
    noted = view(policy, measured(None, NOW, 2))
    assert (noted.consent, noted.decided, noted.ask) == (None, False, True)
    assert noted.measured_since == NOW.replace(hour=0)
    old = Consent(decided_at=NOW, version=2, purposes=["analytics"], measured_since=NOW - timedelta(days=390))
    before, after = (view(policy, old, now=NOW + timedelta(days=days)) for days in (0, 30))
    assert before.measured_since == old.measured_since
    assert after.measured_since is None
    assert after.decided
