"""The tables of the registry file: every key there is, how it is written, and what it says to an editor.

The values here are as the file holds them; what they become is in `core.registry`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from . import syntax
from .findings import Problem


@dataclass(frozen=True, slots=True)
class Mark:
    """What is to be checked of a value beyond its type."""

    problem: Callable[[Any], Problem | None]


def _needs(what: str) -> Mark:
    return Mark(lambda value: None if value else Problem(f"needs at least one {what}"))


def _from_one(value: int) -> Problem | None:
    return None if value >= 1 else Problem(f"must be 1 or more, not {value}")


def _pattern(pattern: str) -> Meta:
    return Meta(extra_json_schema={"pattern": f"^({pattern})$"})


def _keyed(pattern: str) -> Meta:
    """How the keys of a table are written, which msgspec 0.21 leaves out of a schema."""
    return Meta(extra_json_schema={"propertyNames": {"pattern": f"^({pattern})$"}})


Id = Annotated[str, _pattern(syntax.ID), Mark(syntax.id)]
Language = Annotated[str, _pattern(syntax.LANGUAGE), Mark(syntax.language)]
Text = str | Annotated[dict[Language, str], Meta(min_length=1), _keyed(syntax.LANGUAGE), _needs("language")]
Url = Annotated[str, _pattern(syntax.URL), Mark(syntax.url)]
Link = Url | Annotated[dict[Language, Url], Meta(min_length=1), _keyed(syntax.LANGUAGE), _needs("language")]
Version = Annotated[int, Meta(ge=1), Mark(_from_one)]
Period = Annotated[str, _pattern(syntax.PERIOD), Mark(syntax.period)]
CookiePeriod = Annotated[str, _pattern(syntax.COOKIE_PERIOD), Mark(syntax.cookie_period)]
CookieName = Annotated[str, Meta(min_length=1), _pattern(syntax.COOKIE_NAME), Mark(syntax.cookie_name)]
CookieDomain = Annotated[str, _pattern(syntax.COOKIE_DOMAIN), Mark(syntax.cookie_domain)]
CookiePath = Annotated[str, _pattern(syntax.COOKIE_PATH), Mark(syntax.cookie_path)]
SiteHost = Annotated[str, _pattern(syntax.SITE_HOST), Mark(syntax.site_host)]
SourceHost = Annotated[str, _pattern(syntax.SOURCE_HOST), Mark(syntax.source_host)]
Origin = Annotated[str, _pattern(syntax.ORIGIN), Mark(syntax.origin)]
ConsentCookie = Annotated[str, _pattern(syntax.CONSENT_COOKIE), Mark(syntax.consent_cookie)]
ConsentDomain = Annotated[str, _pattern(rf"({syntax.COOKIE_DOMAIN})?"), Mark(syntax.consent_domain)]
Mount = Annotated[str, _pattern(syntax.MOUNT), Mark(syntax.mount)]
SetCookieHeader = Annotated[str, _pattern(syntax.SET_COOKIE_HEADER), Mark(syntax.set_cookie_header)]
SameSite = Literal["none", "lax", "strict"]
ConsentType = Literal[
    "ad_storage",
    "ad_user_data",
    "ad_personalization",
    "analytics_storage",
    "functionality_storage",
    "personalization_storage",
    "security_storage",
]


def _says(description: str) -> Meta:
    return Meta(description=description)


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file. An empty string stands for a text that is not given."""


class SiteTable(Table, frozen=True):
    """Who the site is."""

    id: Annotated[str, _says("Part of the signature's salt; default: the first host.")] = ""
    name: Annotated[Text, _says("The site's name, for visitors.")] = ""
    hosts: Annotated[list[SiteHost], _says("The site's host names: no scheme, no port.")] = field(
        default_factory=list
    )
    contact: Annotated[Text, _says("Whom visitors may ask about cookies.")] = ""
    policy_updated: Annotated[date | None, _says("When the cookie policy last changed.")] = None
    languages: Annotated[
        list[Language],
        Meta(min_length=1),
        _needs("language"),
        _says("The languages of the site, the first for everybody else."),
    ] = field(default_factory=lambda: ["en"])


class ConsentTable(Table, frozen=True):
    """How consent is asked for, kept and enforced."""

    cookie: Annotated[ConsentCookie, _says("The name of the consent cookie over https.")] = "__Host-consent"
    domain: Annotated[
        ConsentDomain, _says('Shares the choice with subdomains, as in ".example.com"; empty: one host.')
    ] = ""
    https: Annotated[
        Literal["auto", "always"], _says('"always" behind a proxy that ends TLS; "auto": as the server says.')
    ] = "auto"
    path: Annotated[Mount, _says("Where the consent pages live, below the mount.")] = "/consent"
    lifetime: Annotated[Period, _says("How long a choice holds; at most max_lifetime.")] = "13 months"
    refusal_lifetime: Annotated[
        Period, _says("When to ask again after a choice that granted nothing; at most max_lifetime.")
    ] = "13 months"
    max_lifetime: Annotated[Period, _says("The cap on every cookie; 13 months at most.")] = "13 months"
    unknown: Annotated[Literal["drop", "keep"], _says("What happens to an undeclared Set-Cookie.")] = "drop"
    undeclared_request: Annotated[
        Literal["keep", "hide", "expire"], _says("What happens to an undeclared cookie in a request.")
    ] = "keep"
    mode: Annotated[Literal["enforce", "observe"], _says('"observe": decide and report, change nothing.')] = (
        "enforce"
    )
    gpc: Annotated[Literal["refuse", "ignore"], _says("What Sec-GPC: 1 does to purposes that sell.")] = (
        "refuse"
    )
    dnt: Annotated[Literal["ignore", "refuse"], _says("What DNT: 1 does.")] = "ignore"
    acceptance: Annotated[
        Literal["explicit", "continued-browsing"],
        _says('What counts as a yes. Regulators in the EU do not accept "continued-browsing".'),
    ] = "explicit"
    model: Annotated[
        Literal["opt-in", "opt-out", "none"],
        _says(
            'What is stored before a choice: "opt-in": nothing that needs consent; "opt-out", "none": all.'
        ),
    ] = "opt-in"
    cors_origins: Annotated[
        list[Origin], _says("Other origins whose single-page or native apps may choose and ask.")
    ] = field(default_factory=list)
    set_cookie_headers: Annotated[
        list[SetCookieHeader], _says("Other response headers that an app's script turns into cookies.")
    ] = field(default_factory=list)


class PurposeTable(Table, frozen=True):
    """What cookies are for, and the unit of consent."""

    title: Annotated[Text, _says("What visitors read.")] = ""
    description: Annotated[Text, _says("What is done, in a sentence or two.")] = ""
    basis: Annotated[
        Literal["essential", "consent", "objection"],
        _says("Why it may store: always, only after yes, or unless objected to."),
    ] = "consent"
    since: Annotated[Version, _says("The version of this file in which the purpose was added.")] = 1
    sale: Annotated[bool, _says("Selling or sharing: refused by Global Privacy Control.")] = False
    secure: Annotated[bool, _says("Adds Secure to its cookies.")] = False
    httponly: Annotated[bool, _says("Adds HttpOnly to its cookies.")] = False
    samesite: Annotated[SameSite | None, _says("Raises SameSite of its cookies to this.")] = None


class VendorTable(Table, frozen=True):
    """The party behind cookies or tags."""

    name: Annotated[Text, _says("What visitors read.")] = ""
    purposes: Annotated[list[Id], _says("Default: the purposes of its cookies.")] = field(
        default_factory=list
    )
    privacy_url: Annotated[Link, _says("Its privacy policy.")] = ""
    opt_out_url: Annotated[Link, _says("Where one can object with the vendor itself.")] = ""
    hosts: Annotated[
        list[SourceHost], _says('Hosts that its tags load from: exact, or "*.example.com" for all below.')
    ] = field(default_factory=list)
    google_consent: Annotated[list[ConsentType], _says("Its consent types in Google's Consent Mode.")] = (
        field(default_factory=list)
    )
    since: Annotated[Version, _says("The version of this file in which the vendor was added.")] = 1


class CookieTable(Table, frozen=True):
    """One cookie, or a pattern of names."""

    name: Annotated[CookieName, _says("The exact name, or a pattern with one *.")]
    purpose: Annotated[Id, _says("The id of its purpose.")]
    vendor: Annotated[Id | None, _says("The id of its vendor; none: the site itself.")] = None
    lifetime: Annotated[
        CookiePeriod | None, _says('What the pages say, and an upper bound: "13 months", or "session".')
    ] = None
    description: Annotated[Text, _says("What it does, for visitors.")] = ""
    data: Annotated[list[Text], _says("What it holds or helps to collect.")] = field(default_factory=list)
    domain: Annotated[
        CookieDomain | list[CookieDomain], _says("Where it is stored, so that it can be deleted.")
    ] = field(default_factory=list)
    path: Annotated[
        CookiePath | list[CookiePath], _says("Where it is stored, so that it can be deleted.")
    ] = field(default_factory=list)
    partitioned: Annotated[bool, _says("Whether it is stored per top-level site (CHIPS).")] = False
    secure: Annotated[bool | None, _says("Adds Secure; false exempts it from its purpose's.")] = None
    httponly: Annotated[bool | None, _says("Adds HttpOnly; false exempts it from its purpose's.")] = None
    samesite: Annotated[
        SameSite | None, _says('Raises SameSite to this; "none" exempts it from its purpose\'s.')
    ] = None


class GatingTable(Table, frozen=True):
    """Which third parties a page may load."""

    mode: Annotated[Literal["off", "report", "enforce"], _says("Whether third parties wait for consent.")] = (
        "off"
    )
    allow: Annotated[list[SourceHost], _says("Hosts that everybody may load.")] = field(default_factory=list)


class RecordsTable(Table, frozen=True):
    """The proof of choices."""

    retention: Annotated[Period, _says("How long a record is kept after its choice has ended.")] = "5 years"


class File(Table, frozen=True):
    """The registry of consent_middleware: purposes, vendors and cookies that a site declares."""

    version: Annotated[Version, _says("Raise it when a purpose or vendor is added.")] = 1
    presets: Annotated[list[str], _says("Ready rules for the cookies that frameworks set themselves.")] = (
        field(default_factory=list)
    )
    site: SiteTable = SiteTable()
    consent: ConsentTable = ConsentTable()
    purposes: Annotated[
        dict[Id, PurposeTable],
        _keyed(syntax.ID),
        _says("What cookies are for; without this table there are six standard ones."),
    ] = field(default_factory=dict)
    vendors: Annotated[
        dict[Id, VendorTable], _keyed(syntax.ID), _says("The parties behind cookies and tags.")
    ] = field(default_factory=dict)
    cookies: Annotated[list[CookieTable], _says("The cookies that there are.")] = field(default_factory=list)
    gating: GatingTable = GatingTable()
    records: RecordsTable = RecordsTable()
