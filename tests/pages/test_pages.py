"""What the pages show, and that it is the visitor's own and harmless."""

import html
import json
import re
from html.parser import HTMLParser

import jsonschema
import pytest

from consent_middleware import Consent

HOSTILE = """
[site]
name = '<script>alert("x")</script>'
hosts = ["www.example.com"]
contact = "</p><b>x"
[purposes.essential]
[purposes.social]
title = '<img src=x onerror="alert(1)">'
description = "{{ 7 * 7 }} {% raw %}"
[vendors.v]
name = "'\\"><svg onload=alert(1)>"
purposes = ["social"]
privacy_url = "https://vendor.example/?a=1&b='2'"
[[cookies]]
name = "a&b'c"
purpose = "social"
vendor = "v"
description = "<!-- -->"
data = ["</li>", "| cell |"]
"""


@pytest.fixture
def page_of(exchanges):
    def get(path, *fields, policy=None, **options):
        return exchanges.run(path=path, fields=fields, policy=policy, **options)

    return get


class Tags(HTMLParser):
    """The elements of a page with their attributes, in order."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def named(self, name):
        return [attributes for tag, attributes in self.elements if attributes.get("name") == name]


PAGES = ["/consent/", "/consent/policy", "/consent/banner", "/consent/nothing"]


@pytest.mark.parametrize("path", PAGES)
def test_everything_is_escaped(page_of, make_policy, path):
    """No text of the registry becomes markup, and nothing of a request is repeated as such."""
    policy = make_policy(HOSTILE)
    page = page_of(f'{path}?lang="><script>&next="><script>', policy=policy)
    tags = {tag for tag, _ in Tags(page.body).elements}
    assert not tags & {"script", "img", "svg", "b"} - {"b"}
    assert not any(name.startswith("on") for _, attributes in Tags(page.body).elements for name in attributes)
    assert b"49" not in page.body


@pytest.mark.parametrize("path", [*PAGES, "/consent/state", "/consent/banner.css"])
def test_any_octets_in_a_query_are_answered(page_of, path):
    """A query that is no UTF-8 is read as far as it can be."""
    answer = page_of(f"{path}?lang=\xff&v=\xe9&next=/\xff&layout=%ff")
    assert answer.status == page_of(path).status


@pytest.mark.parametrize("name", ["Accept", "Accept-Language"])
def test_preferences_are_read_up_to_a_bound(page_of, name):
    """What is preferred is read as long as browsers make it; a page in 64 KiB of wishes is the ordinary page."""
    kind = {"Accept": "application/json", "Accept-Language": "fr"}[name]
    ordinary = page_of("/consent/nothing")
    long = page_of("/consent/nothing", (name, "a/b," * 16384 + kind))
    assert (long.status, long.get("content-type"), long.body) == (
        404,
        "text/html; charset=utf-8",
        ordinary.body,
    )


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_sealed_off(page_of, path):
    """No frame, no foreign script or style, no inline code, no copy in a cache."""
    page = page_of(path)
    assert page.get("cache-control") == "no-store"
    assert page.get("x-frame-options") == "DENY"
    assert page.get("x-content-type-options") == "nosniff"
    policy = page.get("content-security-policy")
    assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy.split("; "))
    assert "unsafe" not in policy
    assert not any("style" in attributes for _, attributes in Tags(page.body).elements)


@pytest.mark.parametrize("name", ["banner.js", "banner.css"])
def test_static_files(page_of, name):
    """Kept for ever under the address that our pages name, for an hour under the bare one, and revalidated."""
    plain = page_of(f"/consent/{name}", cookie="a=b")
    assert plain.get("cache-control") == "public, max-age=3600"
    assert page_of(f"/consent/{name}", ("If-None-Match", plain.get("etag"))).status == 304
    mark = re.search(rf"{name}\?v=(\w+)", page_of("/consent/banner").body.decode() + _embedded(page_of))[1]
    assert "immutable" in page_of(f"/consent/{name}?v={mark}").get("cache-control")
    assert "immutable" not in page_of(f"/consent/{name}?v=other").get("cache-control")


def _embedded(page_of) -> str:
    from consent_middleware.pages.embed import Embedded

    seen = []

    def keep(target):
        from consent_middleware.pages.over_asgi import environ_of

        environ = target if "REQUEST_METHOD" in target else environ_of(target)
        seen.append(str(Embedded(environ, target).banner()))

    page_of("/page", on_request=keep)
    return seen[0]


def test_links_have_the_mount_prefix(page_of):
    """Every address of ours on a page begins with the mount prefix."""
    for path in PAGES:
        for tag, attributes in Tags(page_of(path, mount="/shop").body).elements:
            for name in ("href", "action"):
                address = attributes.get(name, "")
                assert not address.startswith("/") or address.startswith("/shop/consent/"), (tag, address)


def test_nothing_is_ticked_beforehand(page_of):
    """A new visitor finds every box empty."""
    boxes = [a for t, a in Tags(page_of("/consent/").body).elements if a.get("type") == "checkbox"]
    assert len(boxes) > 20
    assert not any("checked" in attributes for attributes in boxes)


def test_every_part_is_listed(page_of, policy):
    """The preferences and the policy name every purpose, vendor and cookie with what is known about it."""
    for path in ("/consent/", "/consent/policy"):
        page = html.unescape(page_of(path).body.decode())
        for purpose in policy.registry.purposes.values():
            assert purpose.title.pick("en") in page
        for vendor in policy.registry.vendors.values():
            assert vendor.name.pick("en") in page
        for rule in policy.registry.cookies:
            assert f"<code>{rule.name}</code>" in page


def test_what_was_chosen_is_shown(page_of, visitors):
    """Somebody who comes back finds what was chosen, when, and until when."""
    page = page_of("/consent/", cookie=visitors["picky"])
    tags = Tags(page.body)
    assert all("checked" in box for box in tags.named("purpose"))
    ticked = {box["value"] for box in tags.named("refuse_vendor") if "checked" in box}
    assert ticked == {"ads"}
    assert {box["value"] for box in tags.named("refuse_cookie") if "checked" in box} == {"_ga"}
    assert b"23 June 2026" in page.body
    assert b"23 July 2027" in page.body
    assert [button["value"] for button in tags.named("choice")].count("withdraw") == 1


def test_what_was_added_is_off(page_of, visitors):
    """What came after the choice is marked as new, unticked, and its vendor ticked as refused."""
    page = page_of("/consent/", cookie=visitors["old-version"])
    tags = Tags(page.body)
    assert [box["value"] for box in tags.named("purpose") if "checked" not in box] == ["later"]
    assert {box["value"] for box in tags.named("refuse_vendor") if "checked" in box} == {"late"}
    assert page.body.count(b"consent-new") == 2


@pytest.mark.parametrize(
    ("who", "word", "asked"),
    [
        ("new", "undecided", True),
        ("all", "granted", False),
        ("none", "refused", False),
        ("some", "custom", False),
        ("picky", "custom", False),
        ("old-version", "custom", True),
        ("ended", "undecided", True),
        ("forged", "undecided", True),
    ],
)
def test_the_state_on_the_banner(page_of, visitors, who, word, asked):
    """The banner's element is always there and tells the state; it shows only to who is to be asked."""
    elements = Tags(page_of("/consent/banner", cookie=visitors[who]).body).elements
    (banner,) = (attributes for _, attributes in elements if attributes.get("id") == "consent-banner")
    assert (banner["data-consent-state"], "hidden" not in banner) == (word, asked)
    actions = [a["data-consent-action"] for _, a in elements if "data-consent-action" in a]
    assert actions == (["accept-all", "reject-all", "choose"] if asked else [])


@pytest.mark.parametrize(
    ("accepted", "asked", "language"),
    [
        (None, "", "en"),
        ("fr", "", "fr"),
        ("fr-CA,en;q=0.5", "", "fr"),
        ("sv", "", "en"),
        ("de;q=0.1,fr;q=0.2", "", "fr"),
        ("fr", "en", "en"),
        ("en", "xx", "en"),
        ("*", "", "en"),
        ("fr;q=0", "", "en"),
        ("fr-CA, fr;q=0, de;q=0.1", "", "de"),
        ("\x80,;q=x", "", "en"),
    ],
)
def test_languages(page_of, make_policy, accepted, asked, language):
    """The visitor's language if the site has it; another if it is asked for; links keep what was asked for."""
    policy = make_policy('[site]\nlanguages = ["en", "fr", "de"]\n')
    fields = [("Accept-Language", accepted)] if accepted else []
    page = page_of(f"/consent/?lang={asked}", *fields, policy=policy).body.decode()
    assert f'<html lang="{language}" dir="ltr">' in page
    assert ('href="/consent/policy?lang=en"' in page) == (asked == "en")


def test_the_api_is_as_described(page_of, visitors, policy, make_policy, registry_text):
    """Every answer of the JSON API fits its OpenAPI description, problems included."""
    description = json.loads(page_of("/consent/openapi.json").body)
    assert description["servers"] == [{"url": "/consent"}]

    def check(answer, path, method="get"):
        content = description["paths"][path][method]["responses"][str(answer.status)]["content"]
        (kind,) = content
        assert answer.get("content-type") == kind
        schema = {**content[kind]["schema"], "components": description["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(answer.body))

    for who in visitors.values():
        check(page_of("/consent/state", cookie=who), "/state")
    check(page_of("/consent/receipt"), "/receipt")
    post = {"method": "POST"}
    kind = ("Content-Type", "application/json")
    for body in (b'{"choice": "accept-all"}', b"{", b'{"choice": "x"}', b" " * 70_000):
        check(page_of("/consent/", kind, body=body, **post), "/", "post")
    check(
        page_of("/consent/", kind, ("Sec-Fetch-Site", "same-origin"), body=b'{"choice":"save"}', **post),
        "/",
        "post",
    )
    check(page_of("/consent/", kind, ("Origin", "null"), body=b"{}", **post), "/", "post")
    check(page_of("/consent/", ("Accept", "application/json"), **post), "/", "post")


def test_receipts(page_of, make_policy, registry_text, tmp_path, now):
    """Who agreed can fetch the record of it; who refused has none, for it would need an id."""
    policy = make_policy(registry_text, records=f"sqlite:///{tmp_path}/consent.db")
    kind = ("Content-Type", "application/json")
    made = page_of("/consent/", kind, method="POST", body=b'{"choice": "accept-all"}', policy=policy)
    cookie = made.get("set-cookie").partition(";")[0]
    answer = page_of("/consent/receipt", cookie=cookie, policy=policy)
    assert answer.status == 200
    assert json.loads(answer.body)["@type"] == "dpv:ConsentReceipt"
    assert page_of("/consent/receipt", policy=policy).status == 404
    unknown = policy.consent_cookie(Consent(decided_at=now, version=2, purposes=["social"], id="x"), now)
    assert page_of("/consent/receipt", cookie=unknown.partition(";")[0], policy=policy).status == 404
    policy.records.close()


def test_no_proof_no_consent(page_of, make_policy, registry_text, tmp_path):
    """Where the record cannot be stored, a grant is answered by 503 and no cookie; a refusal holds."""
    policy = make_policy(registry_text, records=f"sqlite:///{tmp_path}/consent.db")
    policy.records.close()
    (tmp_path / "consent.db").unlink()
    (tmp_path / "consent.db").mkdir()
    kind = ("Content-Type", "application/json")
    granted = page_of("/consent/", kind, method="POST", body=b'{"choice": "accept-all"}', policy=policy)
    assert (granted.status, granted.get("set-cookie")) == (503, None)
    assert granted.get("content-type") == "application/problem+json"
    refused = page_of("/consent/", kind, method="POST", body=b'{"choice": "withdraw"}', policy=policy)
    assert (refused.status, refused.get("set-cookie") is None) == (200, False)


def test_markdown(make_policy):
    """The policy as Markdown says what the page says, and texts cannot break out of it."""
    from consent_middleware.pages.cookie_policy import markdown
    from consent_middleware.pages.presentation import Presentation
    from consent_middleware.pages.wording import Wording

    policy = make_policy(HOSTILE)
    wording = Wording(policy.appearance.speak("en"), "en", policy.registry)
    text = markdown(Presentation(policy.registry, policy.appearance, wording))
    assert "<script" not in text.replace("\\<", "")
    assert "\\| cell \\|" in text
    rows = [line for line in text.splitlines() if line.startswith("| a&amp;b'c")]
    assert len(rows) == 1
