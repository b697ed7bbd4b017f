"""From answers to choices."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.choice import (
    Answer,
    Choice,
    Grants,
    Moment,
    coarsened,
    decide,
    grants_more,
    refusal,
    with_grants,
)
from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.consent import NO_SIGNALS, Signals
from consent_middleware.core.periods import Period
from consent_middleware.core.permissions import permissions_on
from consent_middleware.core.registry import (
    Basis,
    ConsentSettings,
    CookieRule,
    LocalizedText,
    Purpose,
    Registry,
    Vendor,
)
from consent_middleware.core.visitor import Circumstances, view_visitor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TODAY = NOW.replace(hour=0)
MOMENT = Moment(now=NOW, new_id="id")
SIGNALS = [Signals(*both) for both in product([False, True], repeat=2)]
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


def test_a_vendor_alone_opens_its_cookies_of_other_purposes(make_policy, registry_text):
    """A yes to a vendor is one to all of its cookies, also where its own purposes need no consent."""
    more = '[vendors.own]\nname = "Own"\npurposes = ["essential"]\n[[cookies]]\nname = "own"\npurpose = "social"\nvendor = "own"\n'
    policy = make_policy(registry_text + more)
    made = decide(Answer(choice=Choice.SAVE, vendors={"own": True}), policy.compiled, MOMENT)
    assert cookies_of(policy, made) == FREE | {"own"}
    assert cookies_of(policy, added(policy, None, vendors=["own"])) == FREE | {"own"}


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
    made = decide(
        Answer(choice=Choice(choice), **no),
        policy.compiled,
        Moment(now=now, new_id="id", signals=Signals(gpc=gpc)),
    )
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


RAISED = """
[vendors.two]
name = "Of two purposes"
purposes = ["social", "later"]
[[cookies]]
name = "two_social"
purpose = "social"
vendor = "two"
[[cookies]]
name = "two_later"
purpose = "later"
vendor = "two"
"""


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ({"granted_vendors": ["two"]}, {"two_social"}),
        ({"granted_cookies": ["fresh", "two_later"]}, set()),
        ({"granted_cookies": ["late", "two_social"]}, {"two_social"}),
        ({"granted_vendors": ["late"]}, set()),
        ({"granted_vendors": ["google-analytics"]}, {"_ga", "_ga_*"}),
    ],
)
@pytest.mark.parametrize("more", [{"purposes": ["later"]}, {"vendors": ["new"]}])
def test_what_was_granted_alone_and_is_not_covered_stays_closed(
    make_policy, registry_text, before, kept, more
):
    """A vendor or cookie whose purpose or vendor came since does not open with something else that is added."""
    new = '[vendors.new]\nname = "New"\npurposes = ["preferences"]\nsince = 2\n'
    policy = make_policy(registry_text + RAISED + new)
    old = Consent(decided_at=NOW, version=1, id="old", **before)
    made = added(policy, old, **more)
    assert made.version == 2
    named = {"fresh", "two_later"} if "purposes" in more else set()
    assert cookies_of(policy, old) == FREE | kept
    assert cookies_of(policy, made) <= FREE | kept | named
    assert cookies_of(policy, made) >= FREE | kept
    assert not view(policy, made).permissions.allows_vendor("two")


def test_a_cookie_of_a_vendor_that_came_since(policy):
    """It opens alone, unless its purpose would let in the whole vendor: then there is nothing to add."""
    alone = Consent(decided_at=NOW, version=1, purposes=["social"], id="old")
    assert cookies_of(policy, added(policy, alone, cookies=["late"])) == FREE | {"share", "late"}
    whole = replace(alone, purposes=("analytics",))
    assert not grants_more(whole, Grants(cookies=frozenset({"late"})), policy.compiled, MOMENT)
    assert added(policy, whole, cookies=["late"]) == whole


DNT = '\n[consent]\ndnt = "refuse"\n'
BOTH = Signals(gpc=True, dnt=True)


@pytest.mark.parametrize("present", SIGNALS)
@pytest.mark.parametrize("made_with", SIGNALS)
def test_each_signal_is_overruled_by_itself(make_policy, registry_text, made_with, present):
    """Who agrees with a signal present is allowed what it refuses, and another signal still refuses it."""
    policy = make_policy(registry_text + DNT)
    moment = Moment(now=NOW, new_id="id", signals=made_with)
    made = decide(Answer(choice=Choice.ACCEPT_ALL), policy.compiled, moment)
    assert made.signals == made_with
    permissions = view(policy, made, signals=present).permissions
    overruled = not any(present.without(made_with))
    assert permissions.allows("advertising") is overruled
    assert permissions.allows("measurement") is (made_with.dnt or not present.dnt)
    assert permissions.allows("social")


def test_silence_in_the_presence_of_a_signal(make_policy, registry_text):
    """What needs no consent, and a signal refuses, stays refused until the visitor says yes to it."""
    policy = make_policy(registry_text + DNT)
    moment = Moment(now=NOW, new_id="id", signals=Signals(dnt=True))

    def saved(before=None, **purposes):
        return decide(Answer(choice=Choice.SAVE, purposes=purposes), policy.compiled, moment, before)

    silent, said = saved(social=True), saved(social=True, measurement=True)
    for made, expected in ((silent, False), (said, True), (saved(said, social=True), True)):
        assert view(policy, made, signals=moment.signals).permissions.allows("measurement") is expected
    # A choice that grants nothing overrules no signal, and stores none.
    assert saved() == decide(Answer(choice=Choice.SAVE), policy.compiled, MOMENT)


def test_a_grant_in_the_presence_of_a_signal(make_policy, registry_text):
    """It opens what is named, and what was granted or free without the signal stays refused with it."""
    policy = make_policy(registry_text + DNT)
    moment = Moment(now=NOW, new_id="id", signals=Signals(dnt=True))
    before = replace(GRANTED, granted_vendors=("ads",))
    other = added(policy, before, moment, purposes=["social"])
    assert other == replace(before, purposes=("analytics", "social"))
    measured = added(policy, before, moment, purposes=["measurement"])
    assert cookies_of(policy, measured, signals=moment.signals) == ALWAYS | {"stats", "_ga", "_ga_*", "late"}
    first = added(policy, None, moment, purposes=["measurement"])
    assert cookies_of(policy, first, signals=moment.signals) == FREE
    assert not first.asked
    sold = added(policy, before, moment, vendors=["ads"])
    assert cookies_of(policy, sold, signals=moment.signals) == ALWAYS | {"ads_id", "_ga", "_ga_*", "late"}


def test_a_signal_that_a_site_ignores_changes_nothing(policy):
    """Where DNT is not honoured, what is added in its presence touches nothing else and overrules nothing."""
    moment = Moment(now=NOW, new_id="id", signals=Signals(dnt=True))
    before = replace(GRANTED, purposes=("advertising",))
    made = added(policy, before, moment, vendors=["google-analytics"])
    assert made == replace(before, granted_vendors=("google-analytics",))


@pytest.mark.parametrize(
    ("before", "names", "more"),
    [
        (None, {}, False),
        (None, {"purposes": ["essential", "nothing"]}, False),
        (None, {"purposes": ["measurement"]}, False),
        (None, {"purposes": ["social"]}, True),
        (REFUSED, {"purposes": ["measurement"]}, True),
        (GRANTED, {"purposes": ["analytics"]}, False),
        (GRANTED, {"vendors": ["google-analytics"], "cookies": ["_ga", "stats", "session"]}, False),
        (GRANTED, {"vendors": ["ads"]}, True),
        (replace(GRANTED, granted_vendors=("ads",)), {"vendors": ["ads"], "cookies": ["ads_id"]}, False),
        (replace(GRANTED, refused_vendors=("google-analytics",)), {"cookies": ["_ga"]}, False),
        (replace(GRANTED, refused_vendors=("google-analytics",)), {"vendors": ["google-analytics"]}, True),
        (replace(GRANTED, refused_cookies=("stats",)), {"cookies": ["stats"]}, True),
        (replace(GRANTED, version=1), {"purposes": ["analytics"], "vendors": ["google-analytics"]}, False),
        (replace(GRANTED, version=1), {"vendors": ["late"]}, True),
        (replace(GRANTED, version=1, purposes=("later",)), {"purposes": ["later"]}, True),
        (replace(GRANTED, decided_at=NOW - timedelta(days=500)), {"purposes": ["analytics"]}, True),
    ],
)
def test_what_adds(policy, before, names, more):
    """Only what opens something, or takes back a refusal, adds to a choice."""
    grants = Grants(**{kind: frozenset(ids) for kind, ids in names.items()})
    assert grants_more(before, grants, policy.compiled, MOMENT) is more


def test_doubt_is_kept_where_nobody_was_asked(policy):
    """What an unreadable choice closes under opt-out stays closed when something is added."""
    around = Circumstances(now=NOW, model="opt-out")
    doubtful = view_visitor(policy.compiled, [None], around, partial(permissions_on, policy.compiled))
    made = added(policy, doubtful.standing, purposes=["social"])
    assert cookies_of(policy, made, model="opt-out") == FREE | {"share"}
    assert (made.decided_at, made.asked) == (NOW, False)


def test_adding_with_the_signal_present(policy):
    """A yes in the signal's presence opens what was named, and nothing that was granted before it."""
    before = replace(GRANTED, purposes=("advertising", "analytics"), granted_cookies=("share",))
    made = added(policy, before, Moment(now=NOW, new_id="id", signals=Signals(gpc=True)), purposes=["social"])
    assert cookies_of(policy, made, signals=Signals(gpc=True)) == FREE | {"_ga", "_ga_*", "late", "share"}


def test_adding_without_the_signal_that_was_there(policy):
    """What sells and is added without the signal is refused once the signal is there again."""
    before = replace(GRANTED, gpc=True)
    sold, other = added(policy, before, vendors=["ads"]), added(policy, before, purposes=["social"])
    assert "ads_id" in cookies_of(policy, sold)
    assert "ads_id" not in cookies_of(policy, sold, signals=Signals(gpc=True))
    assert (sold.gpc, other.gpc) == (False, True)


def test_adding_without_dnt_that_was_there(make_policy, registry_text):
    """So is what sells, or is measured without consent, once DNT is there again."""
    policy = make_policy(registry_text + DNT)
    before = replace(GRANTED, dnt=True, refused_cookies=("stats",))
    for added_now in ({"vendors": ["ads"]}, {"cookies": ["stats"]}):
        made = added(policy, before, **added_now)
        assert cookies_of(policy, made) > cookies_of(policy, before)
        assert cookies_of(policy, made, signals=Signals(dnt=True)) == ALWAYS | {"_ga", "_ga_*", "late"}
    assert added(policy, before, purposes=["social"]).dnt


def test_a_grant_lifts_no_signal_from_what_a_law_model_opens(policy):
    """Under opt-out, what was granted in the signal's presence opens nothing else that the signal refuses."""
    made = added(
        policy, None, Moment(now=NOW, new_id="id", signals=Signals(gpc=True)), purposes=["analytics"]
    )
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


# A choice never grows: any registry, any choice, any additions.

ASKED = ["p0", "p1", "p2", "p3"]
VENDORS = ["v0", "v1", "v2"]
COOKIES = ["c0", "c1", "c2", "c3", "c4", "c5"]
MODELS = ["opt-in", "opt-out", "none"]
LATER = [timedelta(days=days) for days in (0, 200, 500)]


def some(words, *others):
    return st.lists(st.sampled_from([*words, *others]), max_size=4)


@st.composite
def registries(draw):
    versions, honours = st.integers(1, 3), st.sampled_from(["refuse", "ignore"])
    purposes = {"essential": Purpose(id="essential", title=LocalizedText(), basis=Basis.ESSENTIAL)}
    for id in ASKED:
        basis = draw(st.sampled_from([Basis.CONSENT, Basis.CONSENT, Basis.OBJECTION]))
        since, sale = draw(versions), draw(st.booleans())
        purposes[id] = Purpose(id=id, title=LocalizedText(), basis=basis, since=since, sale=sale)
    vendors = {
        id: Vendor(
            id=id,
            name=LocalizedText(),
            purposes=tuple(draw(st.sets(st.sampled_from([*purposes]), min_size=1, max_size=3))),
            since=draw(versions),
        )
        for id in VENDORS
    }
    rules = [
        CookieRule(
            name=name,
            purpose=draw(st.sampled_from([*purposes])),
            vendor=draw(st.none() | st.sampled_from(VENDORS)),
        )
        for name in COOKIES
    ]
    settings = ConsentSettings(
        gpc=draw(honours),
        dnt=draw(honours),
        lifetime=Period.parse(draw(st.sampled_from(["6 months", "13 months"]))),
    )
    return Registry(version=3, purposes=purposes, vendors=vendors, cookies=tuple(rules), consent=settings)


any_choice = st.builds(
    Consent,
    decided_at=st.integers(0, 500).map(lambda days: NOW - timedelta(days=days)),
    version=st.integers(1, 3),
    purposes=some(ASKED, "gone"),
    granted_vendors=some(VENDORS, "gone"),
    granted_cookies=some(COOKIES, "gone"),
    refused_purposes=some(ASKED, "gone"),
    refused_vendors=some(VENDORS, "gone"),
    refused_cookies=some(COOKIES, "gone"),
    id=st.just("before"),
    gpc=st.booleans(),
    dnt=st.booleans(),
    asked=st.booleans(),
)
any_grants = st.builds(
    Grants,
    purposes=st.frozensets(st.sampled_from([*ASKED, "essential", "gone"]), max_size=2),
    vendors=st.frozensets(st.sampled_from([*VENDORS, "gone"]), max_size=2),
    cookies=st.frozensets(st.sampled_from([*COOKIES, "gone"]), max_size=2),
)
additions = st.lists(st.tuples(any_grants, st.sampled_from(SIGNALS)), min_size=1, max_size=3)


def seen(compiled, choices, now=NOW, signals=NO_SIGNALS, model="opt-in"):
    around = Circumstances(now=now, signals=signals, model=model)
    return view_visitor(compiled, choices, around, partial(permissions_on, compiled))


def open_to(compiled, choices, now, signals, model):
    """All that is allowed: purposes, cookies, vendors."""
    permissions = seen(compiled, choices, now, signals, model).permissions
    return (
        {("purpose", id) for id in compiled.registry.purposes if permissions.allows(id)}
        | {("cookie", rule.name) for rule in compiled.registry.cookies if permissions.allows_rule(rule)}
        | {("vendor", id) for id in permissions.allowed_vendors()}
    )


def opened_by(compiled, added, standing):
    """All that the named may open: a purpose whole, what was refused of it by name excepted."""
    vendors = set(standing.refused_vendors if standing else ()) - added.vendors
    cookies = set(standing.refused_cookies if standing else ()) - added.cookies
    yield from (("purpose", id) for id in added.purposes)
    for vendor in compiled.registry.vendors.values():
        if vendor.id in added.vendors or added.purposes.intersection(vendor.purposes):
            yield from [("vendor", vendor.id)] * (vendor.id not in vendors)
    for rule in compiled.registry.cookies:
        if rule.purpose in added.purposes or rule.vendor in added.vendors or rule.name in added.cookies:
            yield from [("cookie", rule.name)] * (rule.name not in cookies and rule.vendor not in vendors)


@given(registries(), st.none() | any_choice, st.booleans(), additions)
def test_a_choice_never_grows(registry, choice, doubtful, additions):
    """Whatever is allowed after an addition was allowed before, or is named by it.

    That is so now and later, whichever signals are present, under each law model, after the end of the
    choice, and beside a consent cookie that says nothing; after several additions too.
    """
    compiled = compile_registry(registry)
    choices = [*([choice] if choice else []), *([None] if doubtful else [])]
    for added, signals in additions:
        standing = seen(compiled, choices, signals=signals).standing
        made = with_grants(standing, added, compiled, Moment(now=NOW, new_id="after", signals=signals))
        named = set(opened_by(compiled, added, standing))
        for later, present, model in product(LATER, SIGNALS, MODELS):
            around = (NOW + later, present, model)
            if not all(compiled.is_kept(one, NOW + later) for one in (*filter(None, choices), made)):
                # Browsers have dropped the cookie by then.
                continue
            before, after = (open_to(compiled, some, *around) for some in (choices, [made]))
            assert after <= before | named, (around, after - before - named)
        choices = [made]


@given(registries(), st.none() | any_choice, any_grants, st.sampled_from(SIGNALS))
def test_what_is_named_opens(registry, choice, added, signals):
    """A purpose opens whole, though a signal is present that refuses it, and adding it again adds nothing."""
    compiled = compile_registry(registry)
    moment = Moment(now=NOW, new_id="after", signals=signals)
    standing = seen(compiled, [choice] if choice else []).standing
    made = with_grants(standing, added, compiled, moment)
    permissions = seen(compiled, [made], signals=signals).permissions
    assert all(permissions.allows(id) for id in added.purposes & compiled.registry.purposes.keys())
    rules = [compiled.optional_cookies[name] for name in added.cookies & compiled.optional_cookies.keys()]
    own = [rule for rule in rules if rule.vendor is None and rule.purpose in compiled.by_consent]
    assert all(map(permissions.allows_rule, own))
    assert not grants_more(made, added, compiled, moment)
    again = with_grants(made, added, compiled, moment)
    assert again == made


@given(registries(), any_choice, st.sampled_from(SIGNALS))
def test_nothing_named_adds_nothing(registry, choice, signals):
    """No addition, or one of what is essential or unknown, leaves a live choice as it is."""
    compiled = compile_registry(registry)
    choice = replace(choice, decided_at=NOW)
    moment = Moment(now=NOW, new_id="after", signals=signals)
    for added in (
        Grants(),
        Grants(
            purposes=frozenset({"essential", "gone"}),
            vendors=frozenset({"gone"}),
            cookies=frozenset({"gone"}),
        ),
    ):
        for before in (None, choice):
            assert not grants_more(before, added, compiled, moment)
        made = with_grants(choice, added, compiled, moment)
        assert replace(made, id=None, decided_at=NOW) == replace(choice, id=None)


@given(registries(), any_choice)
def test_coarsening_opens_nothing(registry, choice):
    """A choice that is cut to fit a cookie only loses permissions, under each law model."""
    compiled = compile_registry(registry)
    for around in product([NOW], SIGNALS, MODELS):
        before, after = (
            open_to(compiled, [some], *around)
            for some in (
                replace(choice, decided_at=NOW),
                coarsened(replace(choice, decided_at=NOW), compiled),
            )
        )
        assert after <= before, (around, after - before)
