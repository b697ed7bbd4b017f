"""What a shared cache may do with a response that depended on consent."""

from datetime import UTC, datetime

import pytest

from consent_middleware.core.cache_control import cache_control, is_resource, is_shared, personal, vary

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DEPENDS = ("Cookie", "Sec-GPC")


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ((), "private, no-cache, max-age=0"),
        (("public, max-age=60",), "private, no-cache, max-age=0"),
        (("public", "s-maxage=60, must-revalidate"), "private, no-cache, max-age=0, must-revalidate"),
        (("immutable, stale-while-revalidate=9, stale-if-error=9",), "private, no-cache, max-age=0"),
        (('private="Set-Cookie, X", no-transform',), "private, no-cache, max-age=0, no-transform"),
        (('no-cache="Set-Cookie"',), "private, no-cache, max-age=0"),
        (("no-store",), "no-store"),
        (("NO-STORE, no-cache, must-revalidate, max-age=0",), "no-store, no-cache, must-revalidate"),
        ((' , ,x="a\\"b, public" , y',), 'private, no-cache, max-age=0, x="a\\"b, public", y'),
    ],
)
def test_cache_control(said, becomes):
    """One field that lets no shared cache keep the response and no cache use it unasked; the rest stays."""
    assert cache_control(said) == becomes
    assert cache_control((becomes,)) == becomes


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ((), "Cookie, Sec-GPC"),
        (("accept, COOKIE",), "accept, COOKIE, Sec-GPC"),
        (("*",), "*"),
        (("A", "b, *"), "*"),
    ],
)
def test_vary(said, becomes):
    """Each field once, as the app wrote it."""
    assert vary(said, DEPENDS) == becomes
    assert vary((becomes,), DEPENDS) == becomes


def test_fields_that_override_are_gone():
    """What makes some caches ignore Cache-Control, or is all that some know, does not leave."""
    names = [
        "CDN-Cache-Control",
        "Cloudflare-CDN-Cache-Control",
        "surrogate-control",
        "X-Accel-Expires",
        "Edge-Control",
        "X-LiteSpeed-Cache-Control",
        "Expires",
    ]
    kept = [("ETag", '"1"'), ("Age", "5"), ("Surrogate-Key", "a"), ("X-Accel-Buffering", "no")]
    assert personal([*((name, "60") for name in names), *kept], DEPENDS)[:-2] == kept


@pytest.mark.parametrize(
    ("headers", "shared"),
    [
        ([], False),
        ([("ETag", "1")], False),
        ([("Cache-Control", "max-age=0, must-revalidate")], False),
        ([("Cache-Control", "public")], True),
        ([("Cache-Control", 'max-age="5"')], True),
        ([("Cache-Control", "public, no-cache")], False),
        ([("Cache-Control", "max-age=0"), ("Expires", "Wed, 09 Jun 2032 10:18:14 GMT")], False),
        ([("Expires", "Wed, 09 Jun 2032 10:18:14 GMT")], True),
        ([("Expires", "Wed, 09 Jun 2021 10:18:14 GMT")], False),
        ([("Cache-Control", "private"), ("CDN-Cache-Control", "max-age=60")], True),
        ([("CDN-Cache-Control", "no-store")], False),
        ([("X-Accel-Expires", "0")], False),
    ],
)  # fmt: skip
def test_is_shared(headers, shared):
    """Whether an app offers a response to every cache."""
    assert is_shared(headers, NOW) is shared


@pytest.mark.parametrize(
    ("destination", "accept", "content_type", "resource"),
    [
        ("document", "", None, False),
        ("iframe", "", None, False),
        ("empty", "*/*", "application/json", False),
        ("image", "", "text/html", True),
        ("document", "", " IMAGE/png", True),
        ("", "", "text/css; charset=utf-8", True),
        ("", "", "application/x-javascript", True),
        ("", "*/*", "text/html", False),
        ("", "", None, False),
        ("", "image/avif,*/*", None, True),
        ("", "text/html,*/*", None, False),
    ],
)
def test_is_resource(destination, accept, content_type, resource):
    """Whether a response is a file or part of a page: by the browser's word, then by its type."""
    assert is_resource(destination, accept, content_type) is resource
