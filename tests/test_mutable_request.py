"""What an app does to its own view of a request changes nothing of how the answer is judged."""

import pytest

from consent_middleware import get_consent

SHOWN = [
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-GPC", "1"),
    ("Accept", "text/html"),
]
GATED = """
[vendors.tags]
name = "Tags"
purposes = ["analytics"]
hosts = ["tags.example.org"]
[gating]
mode = "enforce"
"""


def confuse_wsgi(environ):
    """What dispatchers, authentication and careless middleware do, all at once."""
    environ["SCRIPT_NAME"] += "/shop"
    environ["PATH_INFO"] = "/elsewhere/deep/er"
    environ |= {
        "HTTP_HOST": "evil.example",
        "HTTP_COOKIE": "_ga=9",
        "HTTP_SEC_FETCH_SITE": "cross-site",
        "HTTP_SEC_GPC": "0",
        "HTTP_ACCEPT": "image/png",
        "HTTP_CONSENT_TOKEN": "forged",
        "HTTP_SEC_FETCH_DEST": "image",
        "REQUEST_METHOD": "GET",
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "203.0.113.9",
    }


def confuse_asgi(scope):
    scope |= {"root_path": "/shop", "path": "/shop/elsewhere/deep/er", "scheme": "http", "method": "GET"}
    confused = {
        b"host": b"evil.example",
        b"cookie": b"_ga=9",
        b"sec-fetch-site": b"cross-site",
        b"sec-fetch-dest": b"image",
        b"sec-gpc": b"0",
        b"accept": b"image/png",
    }
    scope["headers"][:] = [(name, confused.get(name, value)) for name, value in scope["headers"]]
    scope["headers"].append((b"consent-token", b"forged"))


@pytest.mark.parametrize("who", ["all", "none", "some", "new", "forged"])
@pytest.mark.parametrize("cookie", ["", "_ga=1; ads_id=2; session=3; "])
@pytest.mark.parametrize("choose", ["", "grant", "withdraw"])
@pytest.mark.parametrize("extra", ["", GATED])
def test_the_answer_is_judged_by_the_request_that_came(
    exchanges, make_policy, registry_text, visitors, who, cookie, choose, extra
):
    """Scheme, host, path, mount, method, cookies and fields count as they were before the app ran."""
    sent = f"{cookie}{visitors[who] or ''}".strip("; ") or None
    headers = [
        ("Set-Cookie", "_ga=2; Max-Age=99"),
        ("Set-Cookie", "share=3"),
        ("Set-Cookie", "lang=en"),
        ("Link", "<https://tags.example.org/t.js>; rel=preload"),
    ]

    def answer(confuse):
        def app(target):
            if confuse:
                (confuse_wsgi if "REQUEST_METHOD" in target else confuse_asgi)(target)
            consent = get_consent(target)
            seen.append((consent.decided, consent.allows("analytics"), consent.allows("advertising")))
            if choose == "grant":
                consent.grant("social")
            elif choose:
                consent.withdraw()

        seen = []
        policy = make_policy(registry_text + extra, random=bytes)
        answered = exchanges.run(
            headers, cookie=sent, path="/shop/a", method="POST", fields=SHOWN, on_request=app, policy=policy
        )
        return answered.headers, seen

    assert answer(confuse=True) == answer(confuse=False)
