"""What a site declares: purposes, vendors and cookies; and which rule a cookie name falls under.

Each key of the registry file is declared here and nowhere else: a field with a `Key` has the key's type, its
default and what editors say of it. `registry_file` reads a TOML file by these declarations. All values are
frozen and compared by value. Header texts are octets as latin-1 text, the form in which WSGI (PEP 3333) hands
them over; the names of rules are ASCII, for browsers do not agree on any other.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import Enum, StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, field

from .periods import THIRTEEN_MONTHS, Period

LONGEST_REMEMBERED = 256
"""Octets. Longer texts, which strangers can send at will, are not used as keys of caches."""

Session = Literal["session"]
SameSite = Literal["none", "lax", "strict"]
LawModel = Literal["opt-in", "opt-out", "none"]
"""What a law lets a site store before a visitor has chosen. `opt-in`: what needs no consent. `opt-out` and
`none`: everything that is not refused; under `none` nobody is asked."""
ConsentType = Literal[
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "functionality_storage",
    "personalization_storage",
    "security_storage",
]
"""Google's Consent Mode, version 2."""


class Basis(StrEnum):
    """Why a purpose may store anything."""

    ESSENTIAL = "essential"
    """Always: strictly necessary for what the visitor asked for (Directive 2002/58/EC, Article 5(3))."""
    CONSENT = "consent"
    """Only after yes."""
    OBJECTION = "objection"
    """Exempt unless objected to, as some laws allow for a site's own audience measurement."""


class LocalizedText(Struct, frozen=True):
    """A text for visitors: pairs of language tag and wording. The tag "" is for all languages."""

    wordings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, value: "str | Mapping[str, str]") -> "LocalizedText":
        """From what the registry file holds: a string, or a table from language to string."""
        return cls((("", value),) if isinstance(value, str) else tuple(value.items()))

    def pick(self, *languages: str) -> str:
        """The wording in the first of `languages` that has one, else the first wording, else ""."""
        wordings = dict(self.wordings)
        for language in (*languages, ""):
            if language in wordings:
                return wordings[language]
        return next(iter(wordings.values()), "")

    def __bool__(self) -> bool:
        return bool(self.wordings)


class Key(NamedTuple):
    """Marks a field that is a key of the registry file. `description` is what editors show (not for a table).

    With `singular` the file's key has that name, and its value may be one entry without brackets.
    """

    description: str = ""
    singular: str = ""


class Format(Enum):
    """The format of a string in the registry file; `registry_file.syntax` has its pattern and check."""

    ID = "id"
    LANGUAGE = "language"
    URL = "address"
    ORIGIN = "origin"
    PERIOD = "period"
    COOKIE_PERIOD = "lifetime of a cookie"
    COOKIE_NAME = "cookie name or pattern"
    COOKIE_DOMAIN = "cookie domain"
    COOKIE_PATH = "cookie path"
    SITE_HOST = "host of the site"
    SOURCE_HOST = "host to load from"
    CONSENT_COOKIE = "name of the consent cookie"
    CONSENT_DOMAIN = "domain of the consent cookie"
    MOUNT = "path of the consent pages"
    SET_COOKIE_HEADER = "header name"


Id = Annotated[str, Format.ID]
Language = Annotated[str, Format.LANGUAGE]
Origin = Annotated[str, Format.ORIGIN]
CookieName = Annotated[str, Format.COOKIE_NAME]
CookieDomain = Annotated[str, Format.COOKIE_DOMAIN]
CookiePath = Annotated[str, Format.COOKIE_PATH]
SiteHost = Annotated[str, Format.SITE_HOST]
SourceHost = Annotated[str, Format.SOURCE_HOST]
ConsentCookie = Annotated[str, Format.CONSENT_COOKIE]
ConsentDomain = Annotated[str, Format.CONSENT_DOMAIN]
Mount = Annotated[str, Format.MOUNT]
SetCookieHeader = Annotated[str, Format.SET_COOKIE_HEADER]
Link = Annotated[LocalizedText, Format.URL]
Lifetime = Annotated[Period, Format.PERIOD]
CookieLifetime = Annotated[Period | Session, Format.COOKIE_PERIOD]
Version = Annotated[int, Meta(ge=1)]


class Purpose(Struct, frozen=True, kw_only=True):
    """What cookies are for, and the unit of consent."""

    id: str
    title: Annotated[LocalizedText, Key("What visitors read.")] = LocalizedText()
    description: Annotated[LocalizedText, Key("What is done, in a sentence or two.")] = LocalizedText()
    basis: Annotated[Basis, Key("Why it may store: always, only after yes, or unless objected to.")] = (
        Basis.CONSENT
    )
    since: Annotated[Version, Key("The version of this file in which the purpose was added.")] = 1
    sale: Annotated[bool, Key("Selling or sharing: refused by Global Privacy Control.")] = False
    secure: Annotated[bool, Key("Adds Secure to its cookies.")] = False
    httponly: Annotated[bool, Key("Adds HttpOnly to its cookies.")] = False
    samesite: Annotated[SameSite | None, Key("Raises SameSite of its cookies to this.")] = None


class Vendor(Struct, frozen=True, kw_only=True):
    """The party behind cookies or tags; "partner" on pages for visitors."""

    id: str
    name: Annotated[LocalizedText, Key("What visitors read.")] = LocalizedText()
    purposes: Annotated[tuple[Id, ...], Key("Default: the purposes of its cookies.")] = ()
    """Never empty once a file has been read."""
    privacy_url: Annotated[Link, Key("Its privacy policy.")] = LocalizedText()
    opt_out_url: Annotated[Link, Key("Where one can object with the vendor itself.")] = LocalizedText()
    hosts: Annotated[
        tuple[SourceHost, ...],
        Key('Hosts that its tags load from: exact, or "*.example.com" for all below.'),
    ] = ()
    google_consent: Annotated[
        tuple[ConsentType, ...], Key("Its consent types in Google's Consent Mode.")
    ] = ()
    since: Annotated[Version, Key("The version of this file in which the vendor was added.")] = 1


class CookieRule(Struct, frozen=True, kw_only=True):
    """One cookie, or a pattern of names."""

    name: Annotated[CookieName, Key("The exact name, or a pattern with one *.")]
    purpose: Annotated[Id, Key("The id of its purpose.")]
    vendor: Annotated[Id | None, Key("The id of its vendor; none: the site itself.")] = None
    lifetime: Annotated[
        CookieLifetime | None, Key('What the pages say, and an upper bound: "13 months", or "session".')
    ] = None
    description: Annotated[LocalizedText, Key("What it does, for visitors.")] = LocalizedText()
    data: Annotated[tuple[LocalizedText, ...], Key("What it holds or helps to collect.")] = ()
    domains: Annotated[
        tuple[CookieDomain, ...], Key("Where it is stored, so that it can be deleted.", singular="domain")
    ] = ()
    paths: Annotated[
        tuple[CookiePath, ...], Key("Where it is stored, so that it can be deleted.", singular="path")
    ] = ()
    partitioned: Annotated[bool, Key("Whether it is stored per top-level site (CHIPS).")] = False
    secure: Annotated[bool | None, Key("Adds Secure; false exempts it from its purpose's.")] = None
    httponly: Annotated[bool | None, Key("Adds HttpOnly; false exempts it from its purpose's.")] = None
    samesite: Annotated[
        SameSite | None, Key('Raises SameSite to this; "none" exempts it from its purpose\'s.')
    ] = None
    preset: str | None = None
    """The preset that the rule came from, None for the site's own."""


class Site(Struct, frozen=True, kw_only=True):
    """Who the site is."""

    id: Annotated[str, Key("Part of the signature's salt; default: the first host.")] = ""
    name: Annotated[LocalizedText, Key("The site's name, for visitors.")] = LocalizedText()
    hosts: Annotated[tuple[SiteHost, ...], Key("The site's host names: no scheme, no port.")] = ()
    contact: Annotated[LocalizedText, Key("Whom visitors may ask about cookies.")] = LocalizedText()
    policy_updated: Annotated[date | None, Key("When the cookie policy last changed.")] = None
    languages: Annotated[
        tuple[Language, ...],
        Meta(min_length=1),
        Key("The languages of the site, the first for everybody else."),
    ] = ("en",)


class ConsentSettings(Struct, frozen=True, kw_only=True):
    """How consent is asked for, kept and enforced."""

    cookie: Annotated[ConsentCookie, Key("The name of the consent cookie over https.")] = "__Host-consent"
    domain: Annotated[
        ConsentDomain, Key('Shares the choice with subdomains, as in ".example.com"; empty: one host.')
    ] = ""
    https: Annotated[
        Literal["auto", "always"], Key('"always" behind a proxy that ends TLS; "auto": as the server says.')
    ] = "auto"
    path: Annotated[Mount, Key("Where the consent pages live, below the mount.")] = "/consent"
    lifetime: Annotated[Lifetime, Key("How long a choice holds; at most max_lifetime.")] = THIRTEEN_MONTHS
    refusal_lifetime: Annotated[
        Lifetime, Key("When to ask again after a choice that granted nothing; at most max_lifetime.")
    ] = THIRTEEN_MONTHS
    max_lifetime: Annotated[Lifetime, Key("The cap on every cookie; 13 months at most.")] = THIRTEEN_MONTHS
    unknown: Annotated[Literal["drop", "keep"], Key("What happens to an undeclared Set-Cookie.")] = "drop"
    undeclared_request: Annotated[
        Literal["keep", "hide", "expire"], Key("What happens to an undeclared cookie in a request.")
    ] = "keep"
    mode: Annotated[Literal["enforce", "observe"], Key('"observe": decide and report, change nothing.')] = (
        "enforce"
    )
    gpc: Annotated[Literal["refuse", "ignore"], Key("What Sec-GPC: 1 does to purposes that sell.")] = "refuse"
    dnt: Annotated[Literal["ignore", "refuse"], Key("What DNT: 1 does.")] = "ignore"
    acceptance: Annotated[
        Literal["explicit", "continued-browsing"],
        Key('What counts as a yes. Regulators in the EU do not accept "continued-browsing".'),
    ] = "explicit"
    model: Annotated[
        LawModel,
        Key('What is stored before a choice: "opt-in": nothing that needs consent; "opt-out", "none": all.'),
    ] = "opt-in"
    cors_origins: Annotated[
        tuple[Origin, ...], Key("Other origins whose single-page or native apps may choose and ask.")
    ] = ()
    set_cookie_headers: Annotated[
        tuple[SetCookieHeader, ...], Key("Other response headers that an app's script turns into cookies.")
    ] = ()


class Gating(Struct, frozen=True, kw_only=True):
    """Which third parties a page may load."""

    mode: Annotated[Literal["off", "report", "enforce"], Key("Whether third parties wait for consent.")] = (
        "off"
    )
    allow: Annotated[tuple[SourceHost, ...], Key("Hosts that everybody may load.")] = ()


class RecordSettings(Struct, frozen=True, kw_only=True):
    """The proof of choices."""

    retention: Annotated[Lifetime, Key("How long a record is kept after its choice has ended.")] = Period(
        60, 0, "5 years"
    )


class Registry(Struct, frozen=True, kw_only=True, dict=True):
    """The registry of consent_middleware: purposes, vendors and cookies that a site declares."""

    version: Annotated[Version, Key("Raise it when a purpose or vendor is added.")] = 1
    presets: Annotated[
        tuple[str, ...], Key("Ready rules for the cookies that frameworks set themselves.")
    ] = ()
    site: Annotated[Site, Key()] = Site()
    consent: Annotated[ConsentSettings, Key()] = ConsentSettings()
    purposes: Annotated[
        Mapping[Id, Purpose], Key("What cookies are for; without this table there are six standard ones.")
    ] = field(default_factory=dict)
    vendors: Annotated[Mapping[Id, Vendor], Key("The parties behind cookies and tags.")] = field(
        default_factory=dict
    )
    cookies: Annotated[tuple[CookieRule, ...], Key("The cookies that there are.")] = ()
    gating: Annotated[Gating, Key()] = Gating()
    records: Annotated[RecordSettings, Key()] = RecordSettings()

    @cached_property
    def classify(self) -> Callable[[str], CookieRule | None]:
        """The rule that a cookie's actual name falls under, or None if it is undeclared.

        An exact name beats patterns; among patterns more literal characters beat fewer, then the longer
        prefix. Octet by octet and case-sensitive, as browsers compare names (RFC 6265bis, section 5.7).
        """
        return classifier(self.cookies)


def classifier(rules: Iterable[CookieRule]) -> Callable[[str], CookieRule | None]:
    """Build `Registry.classify`: a few dictionary look-ups per name, independent of the number of rules."""
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

    # A site has few names, but a stranger can send any number of any length.
    remembered = lru_cache(4096)(classify)
    return lambda name: remembered(name) if len(name) <= LONGEST_REMEMBERED else classify(name)


def _lengths(texts: Iterable[str]) -> list[int]:
    return sorted({len(text) for text in texts}, reverse=True)
