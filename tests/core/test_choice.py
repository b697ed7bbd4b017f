"""From answers to choices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.core.choice import Answer, Choice, decide, refusal
from consent_middleware.core.consent import NO_SIGNALS

EVERYTHING = {"preferences", "analytics", "social", "advertising", "later"}


@pytest.fixture(scope="module")
def outcome(policy, now):
    """What holds after an answer: the choice, and what it allows."""

    def after(choice="save", **said):
        made = decide(Answer(choice=Choice(choice), **said), policy.terms, now, new_id="id")
        return made, policy.terms.standing([policy.terms.appraise(made)], now, NO_SIGNALS)

    return after


def allowed_cookies(policy, standing):
    return {rule.name for rule in policy.registry.cookies if standing.allows_rule(rule)}


ALWAYS = {"session", "remember", "cart_*"}
FREE = ALWAYS | {"stats"}


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
        ({"purposes": {"measurement": False}, "cookies": {"stats": True}}, FREE),
        ({"purposes": {"essential": False}, "cookies": {"session": False}}, FREE),
        ({"cookies": {"nothing of ours": True}, "vendors": {"nobody": True}}, FREE),
    ],
)
def test_what_an_answer_allows(policy, outcome, said, cookies):
    """Each answer allows the cookies that a person would expect, and no other."""
    assert allowed_cookies(policy, outcome(**said)[1]) == cookies


def test_a_refused_cookie_opens_nothing(outcome):
    """A yes to a cookie whose vendor is refused does not grant its purpose."""
    made, standing = outcome(vendors={"google-analytics": False}, cookies={"_ga": True})
    assert not made.purposes
    assert not standing.allows("analytics")


def test_ids_of_choices(outcome):
    """A choice that grants has the id that it is given; one that grants nothing has none."""
    assert outcome("accept-all")[0].id == "id"
    assert outcome("reject-all")[0].id is None
    assert outcome()[0].id is None


def test_a_vendor_alone_opens_no_other(make_policy, now):
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
    made = decide(said, policy.terms, now, new_id="id")
    standing = policy.terms.standing([policy.terms.appraise(made)], now, NO_SIGNALS)
    assert standing.allows_vendor("chosen")
    assert not standing.allows_vendor("both")


answers = st.dictionaries(st.sampled_from(["analytics", "social", "measurement", "later"]), st.booleans())
vendors = st.dictionaries(st.sampled_from(["google-analytics", "ads", "late"]), st.booleans())
cookies = st.dictionaries(
    st.sampled_from(["_ga", "_ga_*", "late", "ads_id", "share", "stats"]), st.booleans()
)


@given(answers, vendors, cookies)
def test_no_and_silence_never_allow(policy, outcome, purposes, vendors, cookies):
    """What was refused, or not named with its purpose or vendor, is never allowed; what was named is."""
    _, standing = outcome(purposes=purposes, vendors=vendors, cookies=cookies)
    for rule in policy.registry.cookies:
        if rule.purpose in policy.terms.essential:
            continue
        refused = vendors.get(rule.vendor) is False or cookies.get(rule.name) is False
        default = rule.purpose in policy.terms.by_objection
        named = purposes.get(rule.purpose, default) or vendors.get(rule.vendor) or cookies.get(rule.name)
        assert standing.allows_rule(rule) == (bool(named) and not refused), rule.name


def test_refusal(policy, now):
    """Reject-all and withdrawal leave the same choice, which objects to what needs no consent."""
    made = refusal(policy.terms, now)
    assert made == decide(Answer(choice=Choice.WITHDRAW), policy.terms, now, new_id="id")
    assert made.refused_purposes == ("measurement",)
