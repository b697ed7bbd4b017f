"""What the pages claim before a choice: each site is told of as it is, in every language."""

import html
import re
from datetime import timedelta
from functools import cache

import pytest

from consent_middleware import Consent
from consent_middleware.appearance import Appearance

LANGUAGES = ["en", "fr", "de", "es", "it", "nl", "pl", "pt"]
SITE = f'[site]\nname = "Example"\nhosts = ["www.example.com"]\nlanguages = {LANGUAGES}\n'
MEASURED = """
[purposes.measurement]
title = "Measurement"
basis = "objection"
[vendors.counter]
name = "Counter"
[[cookies]]
name = "_ga"
purpose = "measurement"
vendor = "counter"
"""
ADVERTISED = """
[vendors.ads]
name = "Ads"
[[cookies]]
name = "ads_id"
purpose = "advertising"
vendor = "ads"
"""
ALONE = re.compile(r'\[vendors[^\[]*|vendor = "\w+"\n')
SITES = {"text": ADVERTISED, "mixed": MEASURED + ADVERTISED, "notice": MEASURED}


def plain(page: bytes) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.decode())).split())


APPEARANCE = Appearance.of()


def say(key, language):
    speak = APPEARANCE.speak(language)
    return " ".join(speak.text(key, site="Example", settings=speak.texts["actions.settings"]).split())


@pytest.fixture(scope="module")
def policies(make_policy):
    """One policy for each registry: a page is asked for in eight languages, and its template is read once."""
    return cache(lambda declared: make_policy(SITE + declared))


@pytest.fixture
def told(exchanges, policies):
    def tell(declared, path, language="en", **request):
        policy = policies(declared)
        answer = exchanges.run(path=f"/consent/{path}?lang={language}", policy=policy, **request)
        assert answer.status == 200
        return plain(answer.body)

    return tell


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", SITES)
def test_the_banner_claims_what_is_so(told, kind, language):
    """Who asks says what waits; who does not ask says that it is on, and who does both says both."""
    for declared, alone in ((SITES[kind], ""), (ALONE.sub("", SITES[kind]), "_alone")):
        banner = told(declared, "banner", language)
        for other in SITES:
            assert (say(f"banner.{other}{alone}", language) in banner) == (other == kind)
        assert (say("banner.notice_title", language) in banner) == (kind == "notice")
        assert (say("banner.title", language) in banner) == (kind != "notice")
        exempt = f"{say('banner.exempt', language)} Measurement"
        assert (exempt in banner) == (kind == "mixed")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", SITES)
def test_the_preferences_claim_what_is_so(told, kind, language):
    """So do the first words of the preferences."""
    page = told(SITES[kind], "", language)
    for key in ("intro", "undecided"):
        for other in SITES:
            text = say(f"preferences.{key}" + ("" if other == "text" else f"_{other}"), language)
            assert (text in page) == (other == kind)


@pytest.mark.parametrize("kind", ["mixed", "notice"])
def test_after_the_end(told, make_policy, now, kind):
    """Where a choice has ended and its objections hold, it is said what is off then, and no more."""
    declared = '[consent]\nlifetime = "6 months"\n' + SITES[kind]
    made = now - timedelta(days=200)
    consent = Consent(decided_at=made, version=1, purposes=["x"], refused_purposes=["measurement"])
    cookie = make_policy(SITE + declared).consent_cookie(consent, made)
    page = told(declared, "", cookie=cookie.partition(";")[0])
    for other in SITES:
        text = say("preferences.ended" + ("" if other == "text" else f"_{other}"), "en")
        assert (text in page) == (other == kind)


@pytest.mark.parametrize("kind", SITES)
def test_the_policy_claims_what_is_so(told, kind):
    """The policy says what waits for consent and what does not."""
    page = told(SITES[kind], "policy")
    assert (say("policy.consent", "en") in page) == (kind != "notice")
    assert (say("policy.objection", "en") in page) == (kind != "text")


def test_a_notice_is_true_and_as_easily_refused(exchanges, make_policy):
    """The cookie has left when the notice is read; a refusal is one press, as large as the other, and it ends it."""
    policy = make_policy(SITE + MEASURED)
    assert exchanges.run_lines("_ga=1", policy=policy).cookies() == ["_ga=1"]
    page = exchanges.run(path="/consent/banner", policy=policy).body.decode()
    buttons = re.findall(r"<button class=\"([^\"]*)\" .*?data-consent-action=\"([^\"]*)\"", page)
    assert buttons == [("consent-button", action) for action in ("accept-all", "reject-all", "choose")]
    refused = exchanges.run(
        path="/consent/",
        method="POST",
        body=b"choice=reject-all",
        fields=[("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")],
        policy=policy,
    )
    (cookie,) = (line for line in refused.cookies() if "consent=" in line)
    assert exchanges.run_lines("_ga=1", policy=policy, cookie=cookie.partition(";")[0]).cookies() == []


def test_what_is_refused_is_not_said_to_be_on(told):
    """What the visitor, or a signal, refuses already is not told to be on."""
    declared = '[consent]\ndnt = "refuse"\n' + MEASURED + ADVERTISED
    exempt = say("banner.exempt", "en")
    assert exempt in told(declared, "banner")
    assert exempt not in told(declared, "banner", fields=[("DNT", "1")])


@pytest.mark.filterwarnings("ignore::consent_middleware.errors.RegistryWarning")
def test_going_on_is_no_agreement_where_nothing_is_asked(told):
    """A notice does not say that going on is taken for agreement."""
    continued = '[consent]\nacceptance = "continued-browsing"\n'
    text = say("banner.continued", "en")
    assert text in told(continued + ADVERTISED, "banner")
    assert text not in told(continued + MEASURED, "banner")
