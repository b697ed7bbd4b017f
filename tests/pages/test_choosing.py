"""`POST /consent/` and `GET /consent/state`, through both doors."""

import json
from urllib.parse import quote, urlencode

import pytest

SAME = ("Sec-Fetch-Site", "same-origin")
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
CORS = '\n[consent]\ncors_origins = ["https://app.example"]\n'


@pytest.fixture
def visitor(exchanges, make_policy, registry_text):
    """Talks to the pages as a browser on the site does, unless it is told otherwise."""
    return Visitor(exchanges, make_policy(registry_text + CORS))


class Visitor:
    def __init__(self, exchanges, policy):
        self.exchanges, self.policy = exchanges, policy

    def get(self, page="/consent/state", *fields, **options):
        return self.exchanges.run(path=page, fields=fields, policy=self.policy, **options)

    def state(self, *fields, **options):
        return json.loads(self.get("/consent/state", *fields, **options).body)

    def post_json(self, said, *fields, fetched=(SAME,), **options):
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        fields = [JSON, *fetched, *fields]
        return self.get("/consent/", *fields, method="POST", body=body, **options)

    def post_form(self, said, *fields, fetched=(SAME,), **options):
        body = urlencode(said, doseq=True).encode()
        return self.get("/consent/", FORM, *fetched, *fields, method="POST", body=body, **options)

    @property
    def offer(self):
        return json.loads(self.get("/consent/offer").body)["offer"]


def test_the_state_of_somebody_new(visitor):
    """Nothing is decided, everything that needs consent is off, and the visitor is to be asked."""
    state = visitor.state()
    assert list(state) == [
        "decided",
        "purposes",
        "vendors",
        "cookies",
        "decided_at",
        "expires_at",
        "version",
        "ask",
        "model",
        "gated",
    ]
    assert state["decided"] is False
    assert state["ask"] is True
    assert state["decided_at"] is state["expires_at"] is None
    assert {id for id, yes in state["purposes"].items() if yes} == {"essential", "measurement"}
    assert not any(state["vendors"].values())


def test_a_choice_by_json(visitor):
    """The answer tells the new state, and the cookie that keeps it leaves with it."""
    answer = visitor.post_json({"choice": "save", "purposes": {"analytics": True}, "offer": visitor.offer})
    state = json.loads(answer.body)
    assert answer.status == 200
    assert state["decided"] is True
    assert state["purposes"]["analytics"] is True
    assert state["purposes"]["social"] is False
    assert (state["decided_at"], state["expires_at"]) == (
        "2026-11-23T12:00:00.000Z",
        "2027-12-23T12:00:00.000Z",
    )
    cookie = answer.get("set-cookie").partition(";")[0]
    assert visitor.state(cookie=cookie) == state


def test_a_choice_by_form(visitor):
    """A form may repeat its fields, is answered by 303, and leads where it asked to."""
    said = {"choice": "save", "purpose": ["analytics", "social"], "refuse_vendor": ["google-analytics"]}
    answer = visitor.post_form({**said, "offer": visitor.offer, "next": "/articles?page=2"})
    assert (answer.status, answer.get("location")) == (303, "/articles?page=2")
    state = visitor.state(cookie=answer.get("set-cookie").partition(";")[0])
    assert state["cookies"] == {
        **visitor.state()["cookies"],
        "late": True,
        "share": True,
    }


@pytest.mark.parametrize("choice", ["accept-all", "reject-all", "withdraw"])
def test_forms_without_a_way_on_lead_to_the_preferences(visitor, choice):
    """`Location` is the preferences page, with the mount prefix."""
    answer = visitor.post_form({"choice": choice, "offer": visitor.offer}, mount="/shop")
    assert (answer.status, answer.get("location")) == (303, "/shop/consent/?saved=1")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "//",
        "///evil.example",
        "/%2f%2fevil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/%2fevil.example",
        "/%5cevil.example",
        "/%252fevil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/%09/evil.example",
        "/a%0d%0aSet-Cookie:x=1",
        "/a\x00",
        "evil.example",
        "",
        " /a",
        "/" + "a" * 3000,
        "/%" + "25" * 3000,
    ],
)
def test_forms_lead_nowhere_else(visitor, elsewhere):
    """`next` leads to a path of this host or is passed over."""
    answer = visitor.post_form({"choice": "reject-all", "next": elsewhere})
    assert (answer.status, answer.get("location")) == (303, "/consent/?saved=1")


@pytest.mark.parametrize("way", ["/", "/a b?c=d e", "/caf%C3%A9?x=%2F%2Fy#z", "/a?u=https://x.example//"])
def test_forms_lead_on(visitor, way):
    """`next` may be any page of this host."""
    location = visitor.post_form({"choice": "reject-all", "next": way}).get("location")
    assert location == way.replace(" ", "%20")


@pytest.mark.parametrize(
    ("fetched", "json_status", "form_status"),
    [
        ([SAME], 200, 303),
        ([("Sec-Fetch-Site", "cross-site")], 403, 403),
        ([("Sec-Fetch-Site", "same-site")], 403, 403),
        ([("Sec-Fetch-Site", "none")], 403, 403),
        ([SAME, ("Origin", "https://evil.example")], 200, 303),
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", "https://www.example.com")], 403, 403),
        ([("Origin", "https://www.example.com")], 200, 303),
        ([("Origin", "http://www.example.com")], 200, 303),
        ([("Origin", "https://www.example.com:443")], 200, 303),
        ([("Origin", "https://www.example.com:8443")], 403, 403),
        ([("Origin", "https://www.example.com.evil.example")], 403, 403),
        ([("Origin", "null")], 403, 403),
        ([("Origin", "https://[")], 403, 403),
        ([], 200, 403),
        ([("Cookie", "a=b")], 403, 403),
        ([("Origin", "https://app.example")], 200, 403),
        ([("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site")], 200, 403),
        ([("Origin", "https://app.example"), ("Cookie", "a=b")], 403, 403),
    ],
)
def test_who_may_choose(visitor, fetched, json_status, form_status):
    """Only the site itself, origins that the registry names, and apps without a browser may choose."""
    said = {"choice": "accept-all", "offer": visitor.offer}
    answers = visitor.post_json(said, fetched=fetched), visitor.post_form(said, fetched=fetched)
    assert [answer.status for answer in answers] == [json_status, form_status]
    for answer in answers:
        assert (answer.get("set-cookie") is not None) == (answer.status != 403)


def test_without_an_offer(visitor):
    """What may grant needs an offer; what takes back does not; an app without a browser may do without."""
    for choice in ("accept-all", "save"):
        answer = visitor.post_json({"choice": choice})
        assert (answer.status, answer.get("content-type")) == (409, "application/problem+json")
        page = visitor.post_form({"choice": choice})
        assert page.status == 409
        assert b"nothing was saved" in page.body
        assert page.get("set-cookie") is answer.get("set-cookie") is None
        assert visitor.post_json({"choice": choice}, fetched=()).status == 200
    for choice in ("reject-all", "withdraw"):
        assert visitor.post_json({"choice": choice}).status == 200
        assert visitor.post_form({"choice": choice}).status == 303


def test_stale_offers(visitor, make_policy, registry_text):
    """An offer is good after a change of words, not after a vendor came; forged and future ones are none."""
    offer = visitor.offer
    said = {"choice": "accept-all", "offer": offer}
    visitor.policy = make_policy(registry_text.replace("Example Ads", "Sample Ads"))
    assert visitor.post_json(said).status == 200
    visitor.policy = make_policy(registry_text.replace("version = 2", "version = 3", 1))
    assert visitor.post_json(said).status == 200
    added = '\n[vendors.x]\nname = "X"\npurposes = ["social"]\nsince = 3\n'
    visitor.policy = make_policy(registry_text.replace("version = 2", "version = 3", 1) + added)
    assert visitor.post_json(said).status == 409
    cookie = '\n[[cookies]]\nname = "more"\npurpose = "advertising"\nvendor = "ads"\n'
    visitor.policy = make_policy(registry_text + cookie)
    assert visitor.post_json(said).status == 409
    visitor.policy = make_policy(registry_text, secret_keys=["another key of the tests"])
    assert visitor.post_json(said).status == 409
    for forged in (offer[:-1], offer + "A", "x.y", "é", offer * 9):
        assert visitor.post_json({**said, "offer": forged}).status == 409


def test_a_token_is_no_offer(visitor):
    """What is signed for one use is worth nothing in another."""
    token = json.loads(visitor.post_json({"choice": "accept-all"}, fetched=()).body)["token"]
    assert visitor.post_json({"choice": "accept-all", "offer": token}).status == 409
    assert visitor.state(("Consent-Token", visitor.offer))["decided"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"choice":' + b"[" * 60_000, 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"choice": "perhaps"}', 422),
        (b'{"choice": "save", "purposes": {"nothing": true}}', 422),
        (b'{"choice": "save", "vendors": {"nobody": false}}', 422),
        (b'{"choice": "save", "cookies": {"none": true}}', 422),
        (b'{"choice": "save", "purposes": {"analytics": "yes"}}', 422),
        (b'{"choice": "save", "purpose": "analytics"}', 422),
        (b'{"choice": "reject-all", "source": "elsewhere"}', 422),
        (b" " * 65_537, 413),
    ],
)
def test_bad_json(visitor, body, status):
    """Bad input is answered by a problem that says what is wrong, and changes nothing."""
    answer = visitor.post_json(body)
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"]) == (status, status)
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert answer.get("content-type") == "application/problem+json"
    assert answer.get("set-cookie") is None


def test_bad_forms(visitor):
    """A form needs one known choice and fits into 64 KiB; unknown ids in it are passed over."""
    assert visitor.post_form({}).status == 422
    assert visitor.post_form({"choice": ["accept-all", "reject-all"]}).status == 422
    assert visitor.post_form({"choice": "x" * 70_000}).status == 413
    said = {"choice": "save", "purpose": ["nothing", "social"], "vendor": "nobody", "offer": visitor.offer}
    assert visitor.post_form(said).status == 303


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("application/x-www-form-urlencoded", b"choice=reject-all&x="),
        ("application/json", b'{"choice":"reject-all"}'),
    ],
)
@pytest.mark.parametrize(("size", "ok"), [(65_536, True), (65_537, False)])
def test_a_body_of_unstated_length(policy, kind, start, size, ok):
    """A body that comes in chunks is taken up to 64 KiB as well, and never cut."""
    from io import BytesIO

    from werkzeug.test import create_environ

    from consent_middleware.wsgi import ConsentMiddleware

    environ = create_environ("/consent/", method="POST", headers=[SAME], content_type=kind)
    environ |= {"wsgi.input": BytesIO(start.ljust(size)), "wsgi.input_terminated": True}
    environ.pop("CONTENT_LENGTH", None)
    seen = []
    answer = ConsentMiddleware(None, policy)(
        environ, lambda status, headers, exc_info=None: seen.append(status)
    )
    b"".join(answer)
    assert seen[0].startswith(("200", "303") if ok else "413")


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", ""])
def test_other_bodies(visitor, kind):
    """Anything but a form or JSON is refused as such."""
    fields = [("Content-Type", kind)] if kind else []
    answer = visitor.get("/consent/", SAME, *fields, method="POST", body=b"choice=accept-all")
    assert answer.status == 415


@pytest.mark.parametrize(
    ("method", "page", "status", "allow"),
    [
        ("GET", "/consent", 308, None),
        ("HEAD", "/consent/", 200, None),
        ("OPTIONS", "/consent/", 204, "GET, POST, HEAD, OPTIONS"),
        ("PUT", "/consent/", 405, "GET, POST, HEAD, OPTIONS"),
        ("POST", "/consent/state", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", "/consent/policy", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/consent/nothing", 404, None),
        ("GET", "/consent//", 404, None),
        ("GET", "/consent/receipt", 404, None),
        ("POST", "/.well-known/gpc.json", 405, "GET, HEAD, OPTIONS"),
    ],
)
def test_methods(visitor, method, page, status, allow):
    """Every page says which methods it knows, and nothing of an answer is kept."""
    answer = visitor.get(page, method=method)
    assert (answer.status, answer.get("allow")) == (status, allow)
    assert answer.get("cache-control") == "no-store"
    if method == "HEAD":
        assert not answer.body


def test_paths_beside_the_pages_are_the_apps(visitor):
    """Only paths below the configured one are ours."""
    assert visitor.get("/consenting").body == b"hello"
    assert visitor.get("/consent/state").body != b"hello"


def test_other_origins(visitor):
    """Origins in the registry may read and choose, without credentials; all others are told nothing."""
    for page in ("/consent/state", "/consent/"):
        asked = visitor.get(page, ("Origin", "https://app.example"), method="OPTIONS")
        assert asked.status == 204
        assert asked.get("access-control-allow-origin") == "https://app.example"
        assert asked.get("access-control-allow-headers") == "Content-Type, Consent-Token"
        assert "POST" in asked.get("access-control-allow-methods") or page != "/consent/"
        assert asked.get("access-control-allow-credentials") is None
    for origin in ("https://evil.example", "null"):
        answer = visitor.get("/consent/state", ("Origin", origin))
        assert answer.get("access-control-allow-origin") is None
    refused = visitor.post_json({"choice": "accept-all"}, fetched=[("Origin", "https://app.example")])
    assert refused.status == 409
    assert refused.get("access-control-allow-origin") == "https://app.example"


def test_who_is_told_the_token(visitor):
    """Who sends neither a cookie nor comes from a page of the site carries the token, and only they see it."""
    said = {"choice": "accept-all", "offer": visitor.offer}
    native = json.loads(visitor.post_json(said, fetched=()).body)
    assert visitor.state(("Consent-Token", native["token"]))["purposes"]["social"] is True
    assert visitor.state(("Consent-Token", native["token"]))["token"] == native["token"]
    assert "token" not in visitor.state(("Consent-Token", native["token"]), SAME)
    assert "token" not in visitor.state(("Consent-Token", native["token"]), cookie="a=b")
    assert "token" not in json.loads(visitor.post_json(said).body)
    assert "token" not in visitor.state()


def test_a_native_app_withdraws(visitor):
    """The token that a withdrawal answers with allows nothing."""
    token = json.loads(visitor.post_json({"choice": "accept-all"}, fetched=()).body)["token"]
    answer = visitor.post_json({"choice": "withdraw"}, ("Consent-Token", token), fetched=())
    state = visitor.state(("Consent-Token", json.loads(answer.body)["token"]))
    assert {id for id, yes in state["purposes"].items() if yes} == {"essential"}


def test_a_choice_too_long_is_coarsened_and_says_so(exchanges, make_policy):
    """A choice that does not fit a cookie loses permissions, and the page tells."""
    vendors = "".join(
        f'[vendors.vendor-with-a-long-name-{n}]\nname = "{n}"\npurposes = ["social"]\n' for n in range(200)
    )
    visitor = Visitor(exchanges, make_policy(vendors))
    refused = [f"vendor-with-a-long-name-{n}" for n in range(150)]
    said = {"choice": "save", "purpose": ["social", "analytics"], "refuse_vendor": refused}
    answer = visitor.post_form({**said, "offer": visitor.offer})
    assert answer.status == 200
    assert b"too long to be kept" in answer.body
    state = visitor.state(cookie=answer.get("set-cookie").partition(";")[0])
    assert (state["purposes"]["analytics"], state["purposes"]["social"]) == (True, False)


def test_where_nobody_is_asked(exchanges, make_policy, registry_text):
    """Nobody is asked under the law model `none`, and everything is allowed."""
    visitor = Visitor(exchanges, make_policy(registry_text, model=lambda target: "none"))
    state = visitor.state()
    assert state["ask"] is False
    assert all(state["purposes"].values())
    assert b"hidden" in visitor.get("/consent/banner").body.partition(b"<template")[0]


CONTINUED = '\n[consent]\nacceptance = "continued-browsing"\n'


@pytest.mark.filterwarnings("ignore:.*continued browsing")
def test_going_on(exchanges, make_policy, registry_text):
    """Going on stands for a yes where the registry says so, and nowhere and never else."""
    visitor = Visitor(exchanges, make_policy(registry_text + CONTINUED))
    page = visitor.get("/consent/banner").body.decode()
    offer = page.partition('name="offer" value="')[2].partition('"')[0]
    said = {"choice": "accept-all", "source": "continued-browsing", "offer": offer}
    assert visitor.post_json(said).status == 200
    assert visitor.post_json({**said, "offer": visitor.offer}).status == 403
    assert visitor.post_json({**said, "choice": "save"}).status == 403
    assert visitor.post_json(said, fetched=()).status == 403
    for field in (("Sec-GPC", "1"), ("DNT", "1"), ("Sec-Purpose", "prefetch"), ("Sec-Fetch-Dest", "image")):
        assert visitor.post_json(said, field).status == 403
    refused = visitor.post_json({"choice": "reject-all"}).get("set-cookie").partition(";")[0]
    assert visitor.post_json(said, cookie=refused).status == 403
    visitor.policy = make_policy(registry_text)
    assert visitor.post_json(said).status == 403


def test_gpc(visitor, make_policy, registry_text):
    """The host says that it honours the signal exactly where it does."""
    answer = visitor.get("/.well-known/gpc.json")
    assert (answer.status, answer.get("content-type")) == (200, "application/json")
    assert json.loads(answer.body) == {"gpc": True}
    visitor.policy = make_policy(
        registry_text.replace('id = "test"', 'id = "test"\npolicy_updated = 2026-11-23')
    )
    assert json.loads(visitor.get("/.well-known/gpc.json").body) == {"gpc": True, "lastUpdate": "2026-11-23"}
    visitor.policy = make_policy(registry_text + '\n[consent]\ngpc = "ignore"\n')
    assert visitor.get("/.well-known/gpc.json").body == b"hello"


def test_a_choice_in_spite_of_a_signal(visitor):
    """The pages say that a signal was honoured; who agrees all the same, is taken at their word."""
    signal = ("Sec-GPC", "1")
    assert b"Global Privacy Control" in visitor.get("/consent/", signal).body
    assert b"Global Privacy Control" in visitor.get("/consent/banner", signal).body
    made = visitor.post_json({"choice": "accept-all", "offer": visitor.offer})
    cookie = made.get("set-cookie").partition(";")[0]
    assert visitor.state(signal, cookie=cookie)["purposes"]["advertising"] is False
    made = visitor.post_json({"choice": "accept-all", "offer": visitor.offer}, signal)
    cookie = made.get("set-cookie").partition(";")[0]
    assert visitor.state(signal, cookie=cookie)["purposes"]["advertising"] is True


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("?next=/page", "?next=/page"),
        ("?lang=fr&next=%2Fpage%3Fa%3D1%26b", "?lang=fr&next=%2Fpage%3Fa%3D1%26b"),
        ("?next=/page&lang=fr", "?next=/page&lang=fr"),
        ("?page=1&self=2&next=/a&next=/b&empty=", "?page=1&self=2&next=/a&next=/b&empty="),
        ("?next=//evil.example", "?next=//evil.example"),
        ("?\xff\xe9=%ff", "?%FF%E9=%ff"),
        ('?"<x y>', "?%22%3Cx%20y%3E"),
    ],
)
def test_without_the_slash(exchanges, make_policy, method, query, kept):
    """The address without its last slash leads to the pages with all that was asked."""
    policy = make_policy('[site]\nlanguages = ["en", "fr"]\n')
    answer = exchanges.run(path=f"/consent{query}", method=method, policy=policy, mount="/shop")
    assert (answer.status, answer.get("location")) == (308, f"/shop/consent/{kept}")


@pytest.mark.parametrize(
    ("said", "query", "back"),
    [
        ({"next": "/page?x=1"}, "", "/page?x=1"),
        ({"next": "/consent/?next=%2Fpage%3Fx%3D1"}, "", "/page?x=1"),
        ({"next": "/consent/?lang=en&next=%2Fpage"}, "?lang=en", "/page"),
        ({"next": "/consent/"}, "?next=/page", "/page"),
        ({"next": "/consent/"}, "", None),
        ({"next": "//evil.example"}, "", None),
        ({"next": "/consent/?next=//evil.example"}, "", None),
        ({}, "", None),
    ],
)
def test_a_stale_page_still_leads_back(visitor, said, query, back):
    """Who is asked again because the page was old can still go back to where the banner was."""
    answer = visitor.get(
        f"/consent/{query}",
        FORM,
        SAME,
        method="POST",
        body=urlencode({"choice": "accept-all", **said}).encode(),
    )
    assert answer.status == 409
    page = answer.body.decode()
    assert ("Back to the site" in page) == (back is not None)
    if back:
        assert f'<a href="{back}">Back to the site</a>' in page
        assert f'name="next" value="/consent/?next={quote(back, safe="")}' in page or "lang=en" in page
