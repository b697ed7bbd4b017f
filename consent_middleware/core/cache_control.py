"""What a cache may do with a response that depended on one visitor's consent.

`Set-Cookie` does not keep a response out of caches (RFC 9111, section 7.3), and many shared caches take
its absence for a sign that the response suits everybody. So whenever a cookie was judged by the visitor's
choice, or taken out, the response says itself that it is for one visitor only:

- `Cache-Control` is rewritten, not appended to: caches resolve conflicting directives differently
  (RFC 9111, section 4.2.1). `private` keeps it from other visitors, `no-cache` from this one after a
  change of mind. `max-age=0` says it to caches that read ages alone, as Varnish does where a site's own
  VCL replaces the built-in one.
- `Expires` goes, for the same reason: the last word of caches that know no `Cache-Control`.
- Fields that target some caches make them ignore `Cache-Control` (RFC 9213), so they go.
- `Vary` names what the answer depended on, for caches that hold it in spite of all that.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from .header_fields import Header
from .registry import LONGEST_REMEMBERED
from .set_cookie import cookie_date

_TARGETED = frozenset({"surrogate-control", "x-accel-expires", "edge-control", "x-litespeed-cache-control"})
_TARGETED_END = "cdn-cache-control"
_REWRITTEN = _TARGETED | {"cache-control", "expires", "vary"}
# Possessive throughout, and it matches wherever it starts: what is read is never gone over again.
_DIRECTIVE = re.compile(r'[\s,]*+([^=,\s]*+)\s*+(?:=\s*+("(?:[^"\\]|\\.)*+"|[^,]*+))?+[^,]*+', re.DOTALL)
_AGES = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_REPLACED = _AGES | {"public", "private", "no-cache", "immutable"}


def targets_caches(name: str) -> bool:
    """Whether a field, named in lower case, overrides `Cache-Control` for some caches (RFC 9213)."""
    return name in _TARGETED or name.endswith(_TARGETED_END)


def is_about_caches(name: str) -> bool:
    """Whether a field, named in lower case, says what caches may do."""
    return name in _REWRITTEN or name.endswith(_TARGETED_END)


def personal(headers: Iterable[Header], depends_on: tuple[str, ...]) -> list[Header]:
    """The header fields of a response that is for one visitor only.

    `depends_on` are the names of the request fields that decided about it. Twice is the same as once.
    """
    kept: list[Header] = []
    controls: list[str] = []
    varies: list[str] = []
    for name, value in headers:
        key = name.strip().lower()
        if key not in _REWRITTEN and not key.endswith(_TARGETED_END):
            kept.append((name, value))
        elif key == "cache-control":
            controls.append(value)
        elif key == "vary":
            varies.append(value)
    return [
        *kept,
        ("Cache-Control", (_known_control if _are_short(controls) else cache_control)(tuple(controls))),
        ("Vary", (_known_vary if _are_short(varies) else vary)(tuple(varies), depends_on)),
    ]


def cache_control(values: tuple[str, ...]) -> str:
    """One `Cache-Control` that keeps what the app said as far as it is for one visitor only."""
    directives = _directives(values)
    stored = [] if "no-store" in directives else ["private", "no-cache", "max-age=0"]
    others = [
        f"{name}={argument}" if argument else name
        for name, argument in directives.items()
        if name not in _REPLACED or (name in {"private", "no-cache"} and not stored and not argument)
    ]
    return ", ".join([*stored, *others])


def _directives(values: Iterable[str]) -> dict[str, str]:
    directives: dict[str, str] = {}
    for value in values:
        for match in _DIRECTIVE.finditer(value):
            if match[1]:
                directives.setdefault(match[1].lower(), match[2] or "")
    return directives


def is_shared(headers: Iterable[Header], now: datetime) -> bool:
    """Whether the app offers the response to every cache, for every visitor.

    It does so by a field for shared caches, or by a `Cache-Control` or `Expires` that lets them keep it
    for some time. What a cache may keep by its own guess alone (RFC 9111, section 4.2.2) is not offered.
    """
    controls: list[str] = []
    expires = False
    for name, value in headers:
        key = name.strip().lower()
        if key == "cache-control":
            controls.append(value)
        elif key == "expires":
            date = cookie_date(value)
            expires = date is not None and date > now
        elif targets_caches(key) and _offers(_directives([value]), other=True):
            return True
    return _offers(_directives(controls), other=expires)


def _offers(directives: dict[str, str], *, other: bool) -> bool:
    """Whether directives let shared caches keep a response; `other` is what holds where none says so."""
    if directives.keys() & {"private", "no-store", "no-cache", "0"}:
        return False
    ages = [directives[name].strip('"0') for name in ("s-maxage", "max-age") if name in directives]
    return any(ages) or not directives.keys().isdisjoint({"public", "immutable"}) or (other and not ages)


def vary(values: tuple[str, ...], added: tuple[str, ...]) -> str:
    """One `Vary` with each field once, in the app's order; `*` stays alone (RFC 9110, section 12.5.5)."""
    fields: dict[str, str] = {}
    for value in (*values, *added):
        for name in value.split(","):
            if name.strip():
                fields.setdefault(name.strip().lower(), name.strip())
    return "*" if "*" in fields else ", ".join(fields.values())


# Apps say the same about caching again and again: what we make of it is remembered.
_known_control, _known_vary = lru_cache(256)(cache_control), lru_cache(256)(vary)


def _are_short(values: list[str]) -> bool:
    return sum(map(len, values)) <= LONGEST_REMEMBERED


_RESOURCES = frozenset(
    {
        *("audio", "audioworklet", "font", "image", "manifest", "paintworklet", "report", "script"),
        *("serviceworker", "sharedworker", "style", "track", "video", "worker", "xslt"),
    }
)
_RESOURCE_TYPE = re.compile(
    r"(audio|font|image|video)/|text/(css|javascript|vtt|xsl)|application/([a-z-]*javascript|wasm|font|"
    r"manifest\+json|vnd\.ms-fontobject|octet-stream|pdf|zip)",
    re.ASCII | re.IGNORECASE,
)


def is_resource(destination: str, accept: str, content_type: str | None) -> bool:
    """Whether a response is a part of a page, or a file, rather than a page or an answer to a script.

    `destination` and `accept` are the request's `Sec-Fetch-Dest` (Fetch Metadata) and `Accept`, "" if
    absent. Without either, and without a `Content-Type`, it is taken for a page.
    """
    short = len(destination) + len(accept) + len(content_type or "") <= LONGEST_REMEMBERED
    return (_known_resource if short else _is_resource)(destination, accept, content_type)


def _is_resource(destination: str, accept: str, content_type: str | None) -> bool:
    if destination in _RESOURCES:
        return True
    if content_type is not None:
        return _RESOURCE_TYPE.match(content_type.strip()) is not None
    return not destination and bool(accept) and "text/html" not in accept.lower()


_known_resource = lru_cache(256)(_is_resource)
