"""The gate for third parties behind both doors."""

import asyncio

import pytest

from consent_middleware.asgi import ConsentMiddleware

ENFORCE = """
[gating]
mode = "enforce"
allow = ["fonts.example.net"]
[purposes.device]
[vendors.tags]
name = "Tags"
purposes = ["analytics"]
hosts = ["tags.example.org"]
"""
HINT = [("Link", "<https://tags.example.org/t.js>; rel=preload; as=script")]


@pytest.fixture(scope="module")
def gated(make_policy, registry_text):
    return make_policy(registry_text + ENFORCE)


def policies(answer) -> str:
    return answer.get("content-security-policy") or ""


def test_a_page_may_load_what_its_visitor_allows(exchanges, gated, visitors):
    """Each visitor's page names the vendors that this visitor allows, and is for this visitor alone."""
    for visitor, allowed in [("new", False), ("none", False), ("some", True), ("all", True)]:
        answer = exchanges.run(HINT, cookie=visitors[visitor], policy=gated)
        assert ("tags.example.org" in policies(answer)) is allowed
        assert (answer.get("link") is not None) is allowed
        assert "fonts.example.net" in policies(answer)
        assert answer.get("cache-control") == "private, no-cache, max-age=0"


def test_what_is_no_document_keeps_its_headers(exchanges, gated, make_policy, registry_text):
    """A picture leaves as it came, and so does everything where gating is off."""
    headers = [("Cache-Control", "public"), ("X-Content-Type-Options", "nosniff")]
    off = make_policy(registry_text + ENFORCE.replace('"enforce"', '"off"'))
    assert exchanges.run(headers, policy=off).headers[1:] == [(n.lower(), v) for n, v in headers]
    assert "content-security-policy" not in dict(exchanges.run(HINT, policy=off).headers)


def test_report_mode_adds_one_header(exchanges, make_policy, registry_text):
    """In report mode browsers tell what they would not load, to an address below the mount."""
    policy = make_policy(registry_text + ENFORCE.replace('"enforce"', '"report"'))
    answer = exchanges.run(HINT, policy=policy, mount="/shop")
    assert "report-uri /shop/consent/report" in answer.get("content-security-policy-report-only")
    assert answer.get("link")


def test_a_redirect_to_nowhere_is_a_page(exchanges, gated):
    """Browsers show the page of a redirect whose Location is empty: it has a policy."""
    assert policies(exchanges.run([("Location", "")], status=302, policy=gated))


def test_device_hints_are_hidden_from_the_app(exchanges, gated):
    """Without consent for device data the app does not see what the browser tells of the device."""
    seen = []
    fields = [("Sec-CH-UA-Model", '"X"'), ("Sec-CH-UA", '"Y"')]
    exchanges.run(fields=fields, policy=gated, on_request=seen.append)
    text = str(seen[0].get("headers") or sorted(seen[0])).lower().replace("_", "-")
    assert "sec-ch-ua-model" not in text
    assert "sec-ch-ua" in text


def test_the_gate_follows_the_law_model(exchanges, make_policy, registry_text):
    """Under opt-out a vendor's host is open until the visitor, or a signal, refuses."""
    policy = make_policy(registry_text + ENFORCE, model=lambda target: "opt-out")
    assert exchanges.run(HINT, policy=policy).get("link")
    assert not exchanges.run(HINT, policy=policy, fields=[("Consent-Token", "forged")]).get("link")


def test_early_hints(gated):
    """A hint towards a refused vendor is taken out of a 103, and an empty 103 is not sent."""
    sent = []

    async def app(scope, receive, send):
        for links in (
            [b"<https://tags.example.org/t.js>; rel=preload", b"</own.css>; rel=preload"],
            [b"<https://tags.example.org>; rel=preconnect"],
        ):
            await send({"type": "http.response.early_hint", "links": links})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": []}
    asyncio.run(ConsentMiddleware(app, gated)(scope, None, send))
    assert sent == [{"type": "http.response.early_hint", "links": [b"</own.css>; rel=preload"]}]


def test_looking_for_third_parties_keeps_pages_in_caches(exchanges, make_policy, registry_text):
    """Where no vendor has hosts the policy that is reported is everybody's: a shared page stays shared."""
    policy = make_policy(registry_text + '[gating]\nmode = "report"\n')
    answer = exchanges.run([("Cache-Control", "public, max-age=600")], policy=policy)
    assert answer.get("content-security-policy-report-only")
    assert (answer.get("cache-control"), answer.get("vary")) == ("public, max-age=600", None)
