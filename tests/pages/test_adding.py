"""`choice=add`, what a form says by radio groups, and `GET /consent/offer`, through both doors."""

import json
from urllib.parse import urlencode

import pytest

SAME = ("Sec-Fetch-Site", "same-origin")
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
APP = "https://app.example"
CORS = f'\n[consent]\ncors_origins = ["{APP}"]\n'


class Site:
    """The pages of a policy, and what it records and tells."""

    def __init__(self, exchanges, policy):
        self.exchanges, self.policy, self.recorded = exchanges, policy, []
        policy.recorder.record = self.recorded.append

    def post(self, said, *fields, form=False, fetched=(SAME,), **options):
        body = urlencode(said, doseq=True) if form else json.dumps(said)
        fields = [FORM if form else JSON, *fetched, *fields]
        return self.exchanges.run(
            method="POST",
            path="/consent/",
            body=body.encode(),
            fields=fields,
            policy=self.policy,
            **options,
        )

    def get(self, page, *fields, **options):
        return self.exchanges.run(path=page, fields=fields, policy=self.policy, **options)

    def made(self, answer):
        """The choice in the cookie that leaves; None without one."""
        lines = [line for line in answer.cookies() if line.startswith("__Host-consent=")]
        assert len(lines) <= 1
        return self.policy.verify(lines[0].partition(";")[0].partition("=")[2]) if lines else None


@pytest.fixture
def site(exchanges, make_policy, registry_text):
    return Site(exchanges, make_policy(registry_text + CORS))


def ids(consent):
    return {
        name: set(getattr(consent, name))
        for name in (
            "purposes",
            "granted_vendors",
            "granted_cookies",
            "refused_purposes",
            "refused_vendors",
            "refused_cookies",
        )
        if getattr(consent, name)
    }


ADDED = [
    ({"vendors": {"ads": True}}, {"vendor": ["ads"]}, {"granted_vendors": {"ads"}}),
    ({"cookies": {"share": True}}, {"cookie": ["share"]}, {"granted_cookies": {"share"}}),
    (
        {"vendors": {"ads": True}, "cookies": {"share": True, "lang": True}},
        {"vendor": ["ads"], "cookie": ["share", "lang"]},
        {"granted_vendors": {"ads"}, "granted_cookies": {"share", "lang"}},
    ),
]


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(("json_said", "form_said", "added"), ADDED)
def test_adding_touches_nothing_else(site, visitors, form, json_said, form_said, added):
    """What is added joins what stands, which keeps its date and id; without an offer, for the page showed it."""
    said = {"choice": "add", **(form_said if form else json_said)}
    answer = site.post(said, form=form, cookie=visitors["some"])
    assert answer.status == (303 if form else 200)
    before = site.policy.verify(visitors["some"].partition("=")[2])
    after = site.made(answer)
    assert ids(after) == {**ids(before), **added}
    assert (after.decided_at, after.id, after.asked) == (before.decided_at, before.id, True)
    [event] = site.recorded
    assert (event.action, event.consent_id) == ("add", "some")


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(("json_said", "form_said", "added"), ADDED)
def test_adding_where_nobody_was_asked(site, form, json_said, form_said, added):
    """The rest is not asked, and the question stays."""
    said = {"choice": "add", **(form_said if form else json_said)}
    answer = site.post(said, form=form)
    after = site.made(answer)
    assert (ids(after), after.asked) == (added, False)
    token = answer.get("set-cookie").partition(";")[0]
    state = json.loads(site.get("/consent/state", cookie=token).body)
    assert (state["decided"], state["ask"]) == (False, True)
    assert not any(state["purposes"][id] for id in ("preferences", "analytics", "social", "advertising"))


@pytest.mark.parametrize("form", [False, True])
def test_adding_lifts_a_refusal_of_the_same(site, visitors, form):
    """A later yes to a vendor or cookie undoes the no to it, and no other."""
    said = {"vendor": ["ads"]} if form else {"vendors": {"ads": True}}
    answer = site.post({"choice": "add", **said}, form=form, cookie=visitors["picky"])
    after = site.made(answer)
    assert (after.refused_vendors, after.refused_cookies) == ((), ("_ga",))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"vendors": {}},
        {"vendors": {}, "cookies": {}},
        {"purposes": {"social": True}},
        {"purposes": {"social": False}},
        {"purposes": {"social": True}, "vendors": {"ads": True}},
        {"vendors": {"ads": False}},
        {"cookies": {"share": False}},
        {"vendors": {"ads": True}, "cookies": {"share": False}},
        {"vendors": {"ads": True, "late": False}},
        {"vendors": {"nobody": True}},
        {"vendors": {"ads": True, "nobody": True}},
        {"cookies": {"_ga_1": True}},
        {"vendors": {"ads": 1}},
        {"vendors": ["ads"]},
    ],
)
def test_what_add_does_not_take(site, visitors, said):
    """JSON that would take back, name a purpose, or name what is not declared is 422 and changes nothing."""
    for cookie in ("new", "some"):
        answer = site.post({"choice": "add", **said}, cookie=visitors[cookie])
        assert (answer.status, answer.get("content-type")) == (422, "application/problem+json")
        assert site.made(answer) is None
    assert site.recorded == []


NOTHING = [
    {},
    {"vendor": "nobody"},
    {"cookie": ["nothing", "_ga_1"]},
    {"purpose": "social"},
    {"refuse_vendor": "ads"},
    {"refuse_cookie": "share"},
    {"refuse_purpose": "measurement"},
    {"vendor": "ads", "refuse_vendor": "ads"},
    {"vendor.ads": "refuse"},
    {"vendor.ads": ""},
    {"vendor.nobody": "allow"},
    {"cookie.share": "refuse"},
    {"cookie": "session"},
    {"cookie": "stats"},
]


@pytest.mark.parametrize("said", NOTHING)
@pytest.mark.parametrize("cookie", ["new", "some", "picky"])
def test_nothing_added_is_nothing_recorded(site, visitors, said, cookie):
    """A form that adds nothing, for its page is old or says no, leads on and changes nothing."""
    answer = site.post({"choice": "add", "next": "/page", **said}, form=True, cookie=visitors[cookie])
    assert (answer.status, answer.get("location")) == (303, "/page")
    assert site.made(answer) is None
    assert site.recorded == []


@pytest.mark.parametrize("said", [{"vendors": {"ads": True}}, {"cookies": {"share": True, "session": True}}])
def test_what_stands_is_not_added_again(site, visitors, said):
    """Nothing is recorded where all of it is allowed already, by its purpose or alone."""
    answer = site.post({"choice": "add", **said}, cookie=visitors["all"])
    assert answer.status == 200
    assert site.made(answer) is None
    again = site.post({"choice": "add", **said}, cookie=visitors["some"]).get("set-cookie").partition(";")[0]
    site.recorded.clear()
    answer = site.post({"choice": "add", **said}, cookie=again)
    assert site.made(answer) is None
    assert site.recorded == []


def test_unknown_ids_of_a_form_beside_known_ones(site, visitors):
    """The known ones are added."""
    said = {"choice": "add", "vendor": ["nobody", "ads"], "cookie": "nothing"}
    after = site.made(site.post(said, form=True, cookie=visitors["some"]))
    assert (after.granted_vendors, after.granted_cookies) == (("ads",), ())


# Radio groups


def offer(site, **options):
    return json.loads(site.get("/consent/offer", **options).body)["offer"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"vendor.ads": "allow"}, {"granted_vendors": {"ads"}}),
        ({"cookie._ga_*": "allow"}, {"granted_cookies": {"_ga_*"}}),
        ({"vendor.ads": ""}, {}),
        ({"vendor.ads": "", "cookie.share": ""}, {}),
        ({"purpose": "advertising", "vendor.ads": ""}, {"purposes": {"advertising"}}),
        ({"purpose": "advertising", "vendor.ads": "allow"}, {"purposes": {"advertising"}}),
        (
            {"purpose": "analytics", "vendor.late": "refuse", "cookie._ga": "refuse"},
            {"purposes": {"analytics"}, "refused_vendors": {"late"}, "refused_cookies": {"_ga"}},
        ),
        ({"purpose": "social", "vendor.ads": ["allow", "refuse"]}, {"purposes": {"social"}, "refused_vendors": {"ads"}}),
        ({"purpose": "social", "vendor.ads": "perhaps"}, {"purposes": {"social"}}),
        ({"purpose": "social", "vendor.nobody": "allow"}, {"purposes": {"social"}}),
        ({"purpose": "social", "vendor.": "allow", "vendorads": "allow"}, {"purposes": {"social"}}),
        (
            {"vendor.google-analytics": "allow", "cookie.share": "allow", "refuse_vendor": "google-analytics"},
            {"granted_cookies": {"share"}, "refused_vendors": {"google-analytics"}},
        ),
    ],
)  # fmt: skip
def test_radio_groups(site, said, expected):
    """One group each: empty follows the purpose, `allow` grants alone, `refuse` wins."""
    answer = site.post({"choice": "save", "offer": offer(site), **said}, form=True)
    assert answer.status == 303
    assert ids(site.made(answer)) == expected


# GET /consent/offer


def test_what_the_offer_says(site, policy):
    """Everything that a visitor decides about, once, with its words, and nothing essential."""
    answer = site.get("/consent/offer")
    told = json.loads(answer.body)
    assert answer.get("content-type") == "application/json"
    assert answer.get("cache-control") == "no-store"
    assert told.keys() == {"language", "version", "purposes", "offer"}
    assert (told["language"], told["version"]) == ("en", 2)
    purposes = {purpose["id"]: purpose for purpose in told["purposes"]}
    assert list(purposes) == [id for id in policy.registry.purposes if id != "essential"]
    assert all(purpose["title"] for purpose in told["purposes"])
    assert purposes["measurement"]["basis"] == "objection"
    assert [id for id, purpose in purposes.items() if purpose["sale"]] == ["advertising"]
    vendors = [vendor for purpose in told["purposes"] for vendor in purpose["vendors"]]
    assert {vendor["id"]: vendor["name"] for vendor in vendors if vendor["id"]} == {
        "google-analytics": "Google Analytics",
        "ads": "Example Ads",
        "late": "Came with version 2",
    }
    cookies = [cookie["id"] for vendor in vendors for cookie in vendor["cookies"]]
    assert sorted(cookies) == sorted(policy.compiled.optional_cookies)


def test_the_offer_is_what_an_answer_rests_on(site):
    """It comes with nothing personal, is refused by nobody else's key, and its record says what was shown."""
    text = offer(site)
    answer = site.post({"choice": "accept-all", "offer": text})
    assert answer.status == 200
    [event] = site.recorded
    assert (event.layout, event.language, event.snapshot) == ("api", "en", site.policy.snapshot.hash)
    assert "offer" not in json.loads(site.get("/consent/state").body)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[purposes.social]", "[purposes.social]\nsince = 3"),
        ('name = "Example Ads"', 'name = "Example Ads"\nsince = 3'),
        ('name = "Example Ads"', 'name = "Example Ads"\npurposes = ["advertising", "social"]'),
        ('name = "share"\npurpose = "social"', 'name = "share"\npurpose = "advertising"'),
    ],
)
def test_an_offer_from_before_the_questions_changed(site, make_policy, registry_text, before, after):
    """A yes to what was shown then is none to what the same ids mean now, and names nothing of today."""
    text = offer(site)
    changed = registry_text.replace("version = 2", "version = 3", 1).replace(before, after, 1)
    site.policy = make_policy(changed + CORS)
    site.policy.record = site.recorded.append
    answer = site.post({"choice": "accept-all", "offer": text})
    assert (answer.status, site.made(answer), site.recorded) == (409, None, [])
    assert site.post({"choice": "accept-all", "offer": offer(site)}).status == 200


@pytest.mark.parametrize(
    ("query", "accepts", "language"),
    [
        ("", "", "en"),
        ("", "fr-CA, en;q=0.5", "fr"),
        ("", "fr;q=0, en", "en"),
        ("", "de", "en"),
        ("?lang=fr", "en", "fr"),
        ("?lang=en", "fr", "en"),
        ("?lang=de", "fr", "fr"),
    ],
)
def test_the_offer_in_one_language(exchanges, make_policy, registry_text, query, accepts, language):
    """`lang` wins over `Accept-Language`; the words, and what the record says, are of that language."""
    text = registry_text.replace('id = "test"', 'id = "test"\nlanguages = ["en", "fr"]').replace(
        "[purposes.social]",
        '[purposes.social]\ntitle = { en = "Sharing", fr = "Partage" }\ndescription = { en = "To share.", fr = "Partager." }',
    )
    site = Site(exchanges, make_policy(text))
    answer = site.get(f"/consent/offer{query}", ("Accept-Language", accepts))
    told = json.loads(answer.body)
    social = next(purpose for purpose in told["purposes"] if purpose["id"] == "social")
    assert told["language"] == language
    assert (social["title"], social["description"]) == {
        "en": ("Sharing", "To share."),
        "fr": ("Partage", "Partager."),
    }[language]
    site.post({"choice": "accept-all", "offer": told["offer"]})
    assert site.recorded[0].language == language


def test_who_may_read_the_offer(site):
    """The origins that the registry names, without credentials; they answer it with a token of their own."""
    own = ("Origin", APP)
    asked = site.get("/consent/offer", own, method="OPTIONS")
    assert (asked.status, asked.get("access-control-allow-methods")) == (204, "GET, HEAD, OPTIONS")
    answer = site.get("/consent/offer", own, ("Sec-Fetch-Site", "cross-site"))
    assert answer.get("access-control-allow-origin") == APP
    assert answer.get("access-control-allow-credentials") is None
    assert "Origin" in answer.get("vary")
    for origin in ("https://evil.example", "null", "http://app.example", f"{APP}:8443"):
        other = site.get("/consent/offer", ("Origin", origin))
        assert other.get("access-control-allow-origin") is None
        assert "Origin" in other.get("vary")
    text = json.loads(answer.body)["offer"]
    made = site.post({"choice": "accept-all", "offer": text}, fetched=[own, ("Sec-Fetch-Site", "cross-site")])
    assert (made.status, made.get("access-control-allow-origin")) == (200, APP)
    token = json.loads(made.body)["token"]
    assert json.loads(site.get("/consent/state", own, ("Consent-Token", token)).body)["decided"] is True


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_offer_is_only_read(site, method):
    """Any other method is 405, and HEAD has no body."""
    assert site.get("/consent/offer", method=method).status == 405
    head = site.get("/consent/offer", method="HEAD")
    assert (head.status, head.body) == (200, b"")
