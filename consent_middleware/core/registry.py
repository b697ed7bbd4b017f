"""What a site declares: purposes, vendors and cookies; and which rule a cookie name falls under.

The values here are what the TOML file of `registry_file` becomes. All are frozen and compared by value.
Header texts are octets as latin-1 text, the form in which WSGI (PEP 3333) hands them over; the names of
rules are ASCII, for browsers do not agree on any other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from .periods import THIRTEEN_MONTHS, Period

LONGEST_REMEMBERED = 256
"""Octets of a text above which nothing is remembered by it."""

Session = Literal["session"]
SameSite = Literal["none", "lax", "strict"]
LawModel = Literal["opt-in", "opt-out", "none"]
"""What a law lets a site store before a visitor has chosen. `opt-in`: what needs no consent. `opt-out` and
`none`: everything that is not refused; under `none` nobody is asked."""


class Basis(StrEnum):
    """Why a purpose may store anything."""

    ESSENTIAL = "essential"
    """Always: strictly necessary for what the visitor asked for (Directive 2002/58/EC, Article 5(3))."""
    CONSENT = "consent"
    """Only after yes."""
    OBJECTION = "objection"
    """Exempt unless objected to, as some laws allow for a site's own audience measurement."""


@dataclass(frozen=True, slots=True)
class LocalizedText:
    """A text for visitors: pairs of language tag and wording; the tag is "" where there is one for all."""

    wordings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, value: "str | Mapping[str, str]") -> "LocalizedText":
        """From what the registry file holds: a string, or a table from language to string."""
        return cls((("", value),) if isinstance(value, str) else tuple(value.items()))

    def pick(self, *languages: str) -> str:
        """The wording in the first of `languages` that there is, else the first wording, else ""."""
        wordings = dict(self.wordings)
        for language in (*languages, ""):
            if language in wordings:
                return wordings[language]
        return next(iter(wordings.values()), "")

    def __bool__(self) -> bool:
        return bool(self.wordings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What cookies are for, and the unit of consent."""

    id: str
    title: LocalizedText
    description: LocalizedText = LocalizedText()
    basis: Basis = Basis.CONSENT
    since: int = 1
    sale: bool = False
    """Selling or sharing in the sense of Global Privacy Control, which refuses it."""
    secure: bool = False
    httponly: bool = False
    samesite: SameSite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """The party behind cookies or tags; "partner" on pages for visitors. `purposes` is never empty."""

    id: str
    name: LocalizedText
    purposes: tuple[str, ...]
    privacy_url: LocalizedText = LocalizedText()
    opt_out_url: LocalizedText = LocalizedText()
    hosts: tuple[str, ...] = ()
    """Hosts that its tags load from: exact, or `*.example.com` for every host below."""
    google_consent: tuple[str, ...] = ()
    since: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieRule:
    """One `[[cookies]]` entry: an exact name, or a pattern with one `*`.

    The raise-only attributes are None where the purpose decides; False (or "none") exempts this cookie.
    """

    name: str
    purpose: str
    vendor: str | None = None
    lifetime: Period | Session | None = None
    description: LocalizedText = LocalizedText()
    data: tuple[LocalizedText, ...] = ()
    domains: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    partitioned: bool = False
    secure: bool | None = None
    httponly: bool | None = None
    samesite: SameSite | None = None
    preset: str | None = None
    """The preset that the rule came from, None for the site's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Who the site is."""

    id: str = ""
    name: LocalizedText = LocalizedText()
    hosts: tuple[str, ...] = ()
    contact: LocalizedText = LocalizedText()
    policy_updated: date | None = None
    languages: tuple[str, ...] = ("en",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentSettings:
    """The `[consent]` table. Defaults are those of the registry file."""

    cookie: str = "__Host-consent"
    domain: str = ""
    https: Literal["auto", "always"] = "auto"
    path: str = "/consent"
    lifetime: Period = THIRTEEN_MONTHS
    refusal_lifetime: Period = THIRTEEN_MONTHS
    max_lifetime: Period = THIRTEEN_MONTHS
    unknown: Literal["drop", "keep"] = "drop"
    undeclared_request: Literal["keep", "hide", "expire"] = "keep"
    mode: Literal["enforce", "observe"] = "enforce"
    gpc: Literal["refuse", "ignore"] = "refuse"
    dnt: Literal["ignore", "refuse"] = "ignore"
    acceptance: Literal["explicit", "continued-browsing"] = "explicit"
    model: LawModel = "opt-in"
    cors_origins: tuple[str, ...] = ()
    set_cookie_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """The `[gating]` table."""

    mode: Literal["off", "report", "enforce"] = "off"
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """The `[records]` table."""

    retention: Period = Period(60, 0, "5 years")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Everything that a site declares. `purposes` and `vendors` are keyed by id, in the order of the file."""

    version: int = 1
    site: Site = Site()
    consent: ConsentSettings = ConsentSettings()
    purposes: Mapping[str, Purpose]
    vendors: Mapping[str, Vendor] = field(default_factory=dict)
    cookies: tuple[CookieRule, ...] = ()
    gating: Gating = Gating()
    records: RecordSettings = RecordSettings()
    classify: Callable[[str], CookieRule | None] = field(init=False, repr=False, compare=False)
    """The rule that a cookie's actual name falls under, or None if it is undeclared.

    An exact name beats patterns; among patterns more literal characters beat fewer, then the longer
    prefix. Octet by octet and case-sensitive, as browsers compare names (RFC 6265bis, section 5.7).
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "classify", classifier(self.cookies))


def classifier(rules: Iterable[CookieRule]) -> Callable[[str], CookieRule | None]:
    """Build `Registry.classify`: a few dictionary look-ups, however many rules there are."""
    exact: dict[str, CookieRule] = {}
    patterns: dict[str, dict[str, CookieRule]] = {}
    for rule in rules:
        prefix, star, suffix = rule.name.partition("*")
        if star:
            patterns.setdefault(prefix, {})[suffix] = rule
        else:
            exact[prefix] = rule
    prefix_lengths = _lengths(patterns)
    suffix_lengths = {prefix: _lengths(suffixes) for prefix, suffixes in patterns.items()}

    def best_pattern(name: str) -> CookieRule | None:
        best, literal = None, -1
        for length in prefix_lengths:
            prefix = name[:length]
            for tail in suffix_lengths.get(prefix, ()):
                # Longer prefixes come first, so that only more literal characters can beat what was found.
                if length + tail <= literal:
                    break
                rule = patterns[prefix].get(name[len(name) - tail :]) if length + tail <= len(name) else None
                if rule is not None:
                    best, literal = rule, length + tail
                    break
        return best

    def classify(name: str) -> CookieRule | None:
        return exact.get(name) or best_pattern(name)

    # The names that a site sees are few, and a stranger can make up as many and as long ones as he likes.
    remembered = lru_cache(4096)(classify)
    return lambda name: remembered(name) if len(name) <= LONGEST_REMEMBERED else classify(name)


def _lengths(texts: Iterable[str]) -> list[int]:
    return sorted({len(text) for text in texts}, reverse=True)
