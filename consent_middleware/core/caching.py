"""What a cache may do with a response that depended on one visitor's consent.

`Set-Cookie` does not keep a response out of caches (RFC 9111, section 7.3), and many shared caches take
its absence for a sign that the response suits everybody. So whenever a cookie was judged by the visitor's
choice, or taken out, the response says itself that it is for one visitor only:

- `Cache-Control` is rewritten, not appended to: caches resolve conflicting directives differently
  (RFC 9111, section 4.2.1). `private` keeps it from other visitors, `no-cache` from this one after a
  change of mind.
- Fields that target some caches make them ignore `Cache-Control` (RFC 9213), so they go.
- `Vary` names what the answer depended on, for caches that hold it in spite of all that.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

Header = tuple[str, str]

_TARGETED = frozenset({"surrogate-control", "x-accel-expires", "edge-control"})
_DIRECTIVE = re.compile(r'\s*([^=,\s]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^,]*))?\s*(?:,|$)')
_REPLACED = frozenset({"public", "private", "no-cache", "s-maxage"})


def targets_caches(name: str) -> bool:
    """Whether a field, named in lower case, overrides `Cache-Control` for some caches (RFC 9213)."""
    return name in _TARGETED or name.endswith("cdn-cache-control")


def personal(headers: Iterable[Header], depends_on: tuple[str, ...]) -> list[Header]:
    """The header fields of a response that is for one visitor only.

    `depends_on` are the names of the request fields that decided about it. Twice is the same as once.
    """
    kept: list[Header] = []
    controls: list[str] = []
    varies: list[str] = []
    for name, value in headers:
        match name.strip().lower():
            case "cache-control":
                controls.append(value)
            case "vary":
                varies.append(value)
            case key if not targets_caches(key):
                kept.append((name, value))
    return [
        *kept,
        ("Cache-Control", cache_control(tuple(controls))),
        ("Vary", vary(tuple(varies), depends_on)),
    ]


# Apps say the same about caching again and again: what we make of it is remembered.
@lru_cache(256)
def cache_control(values: tuple[str, ...]) -> str:
    """One `Cache-Control` that keeps what the app said as far as it is for one visitor only."""
    directives: dict[str, str] = {}
    for value in values:
        for match in _DIRECTIVE.finditer(value):
            directives.setdefault(match[1].lower(), match[2] or "")
    stored = [] if "no-store" in directives else ["private", "no-cache"]
    others = [
        f"{name}={argument}" if argument else name
        for name, argument in directives.items()
        if name not in _REPLACED or (name in {"private", "no-cache"} and not stored and not argument)
    ]
    return ", ".join([*stored, *others])


@lru_cache(256)
def vary(values: tuple[str, ...], added: tuple[str, ...]) -> str:
    """One `Vary` with each field once, in the app's order; `*` stays alone (RFC 9110, section 12.5.5)."""
    fields: dict[str, str] = {}
    for value in (*values, *added):
        for name in value.split(","):
            if name.strip():
                fields.setdefault(name.strip().lower(), name.strip())
    return "*" if "*" in fields else ", ".join(fields.values())
