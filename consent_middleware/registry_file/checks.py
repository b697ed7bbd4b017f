"""Checks of a registry file that involve more than one key."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from consent_middleware import catalogue
from consent_middleware.core.csp import HostPattern, load_policy
from consent_middleware.core.periods import THIRTEEN_MONTHS, Overrun, Period
from consent_middleware.core.registry import (
    Basis,
    CookieRule,
    Registry,
    Session,
    Vendor,
    classifier,
)

from .findings import Findings, did_you_mean
from .positions import Path

_overrun = lru_cache(1024)(Period.overrun)
_PREFIXES = ("__Host-", "__Secure-")
_REFUSED_OVER_HTTP = ("__host-", "__secure-", "__http-")
_LARGEST_VERSION = 2**31 - 1
"""What PostgreSQL stores as an integer; each record and each token holds the version."""
_TWO_DAYS = Period.parse("2 days")
_BUFFERS = (
    "in nginx: proxy_buffer_size 16k; proxy_buffers 8 16k; with uwsgi_pass: uwsgi_buffer_size, uwsgi_buffers;"
    ' or name fewer hosts, as in "*.example.com"'
)
_LONG_POLICY = 2048
"""Octets. nginx keeps 4 KiB for all header fields of an answer, and cookies that leave may take the rest."""


def check(file: Registry, raw: dict[str, Any], findings: Findings) -> None:
    """Add all mistakes and suspicions; `raw` is the file as TOML, without what the catalogue adds."""
    _presets(file, findings)
    _lifetimes(file, raw, findings)
    _consent(file, findings)
    _purposes(file, raw, findings)
    _vendors(file, findings)
    _gating(file, findings)
    _cookies(file, findings)
    _languages(file, raw, findings)
    if file.version > _LARGEST_VERSION:
        findings.mistake(("version",), f"{file.version} is above {_LARGEST_VERSION}", "count the changes")


def table_at(raw: Any, *path: str | int) -> dict[str, Any]:
    """The table at a path of the file, empty if there is none."""
    for key in path:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def _presets(file: Registry, findings: Findings) -> None:
    known = catalogue.presets()
    for number, name in enumerate(file.presets):
        if name not in known and not findings.has_mistake("presets", number):
            findings.mistake(("presets", number), f"there is no preset {name!r}", did_you_mean(name, known))


def _lifetimes(file: Registry, raw: dict[str, Any], findings: Findings) -> None:
    consent = file.consent
    if _overrun(consent.max_lifetime, THIRTEEN_MONTHS) is not Overrun.NEVER:
        hint = 'write "13 months", or up to 393 days'
        findings.mistake(
            ("consent", "max_lifetime"), f"{str(consent.max_lifetime)!r} is above 13 months", hint
        )
    cap = _cap(file)
    for key in ("lifetime", "refusal_lifetime", "max_lifetime"):
        if _overrun(_TWO_DAYS, getattr(consent, key)) is Overrun.ALWAYS:
            message = f"{str(getattr(consent, key))!r} is under two days, and refusals are dated to the day"
            findings.mistake(("consent", key), message, 'write "2 days" or more')
    for key in ("lifetime", "refusal_lifetime"):
        period = getattr(consent, key)
        # A default gives way to a lower cap.
        if key in table_at(raw, "consent") and _overrun(period, cap) is not Overrun.NEVER:
            findings.mistake(("consent", key), f"{str(period)!r} is above max_lifetime, {str(cap)!r}")


def _cap(file: Registry) -> Period:
    """`max_lifetime`, or 13 months if it is mistakenly above that."""
    cap = file.consent.max_lifetime
    return cap if _overrun(cap, THIRTEEN_MONTHS) is Overrun.NEVER else THIRTEEN_MONTHS


def _consent(file: Registry, findings: Findings) -> None:
    consent = file.consent
    for number, host in enumerate(file.site.hosts):
        if consent.domain and host and not domain_matches(consent.domain, host):
            message = f"{consent.domain!r} does not cover the host {host!r} of site.hosts[{number}]"
            findings.mistake(("consent", "domain"), message)
    if consent.acceptance == "continued-browsing":
        message = "regulators in the EU do not accept continued browsing as consent"
        findings.suspicion(("consent", "acceptance"), message, 'write "explicit"')
    _consent_cookie(consent.cookie, consent.domain, file.site.hosts, findings)


def _consent_cookie(name: str, domain: str, hosts: Collection[str], findings: Findings) -> None:
    """What browsers would not store: without it every choice is lost, and every visitor is asked again."""
    top = domain.removeprefix(".")
    if top and "." not in top and top not in hosts:
        message = f"browsers store no cookie for all hosts below {top!r}"
        findings.suspicion(("consent", "domain"), message, 'as in ".example.com"')
    # RFC 6265bis, section 5.7: the prefixes count in any case.
    plain = min(consent_cookie_names(name), key=len)
    if plain.lower().startswith(_REFUSED_OVER_HTTP):
        message = f"over http browsers refuse a cookie named {plain!r}"
        findings.suspicion(("consent", "cookie"), message, 'write "__Host-…" or "__Secure-…", once')


def domain_matches(domain: str, host: str) -> bool:
    """Whether a cookie with this Domain attribute goes to the host (RFC 6265, section 5.1.3)."""
    domain = domain.removeprefix(".")
    return host == domain or host.endswith(f".{domain}")


def _purposes(file: Registry, raw: dict[str, Any], findings: Findings) -> None:
    own = table_at(raw, "purposes")
    for id, purpose in file.purposes.items():
        path = ("purposes", id)
        _since(path, purpose.since, file, findings)
        if (
            id in own
            and not purpose.title
            and not findings.has_mistake(*path)
            and not findings.has_mistake(*path, "title")
        ):
            findings.suspicion(path, "has no title", f"visitors read {id!r}")


def _since(path: Path, since: int, file: Registry, findings: Findings) -> None:
    if since > file.version and not findings.has_mistake("version"):
        message = f"{since} is above the version of the file, {file.version}"
        findings.mistake((*path, "since"), message, f"raise version to {since}")


def _vendors(file: Registry, findings: Findings) -> None:
    used = {cookie.vendor for cookie in file.cookies}
    known = _known_purposes(file)
    for id, vendor in file.vendors.items():
        path = ("vendors", id)
        if findings.has_mistake(*path):
            continue
        _since(path, vendor.since, file, findings)
        _vendor_purposes(path, vendor, known, findings)
        if not vendor.purposes and id not in used and not findings.has_mistake(*path, "purposes"):
            message = "is missing, and no cookie names this vendor"
            findings.mistake((*path, "purposes"), message, 'as in ["advertising"]')
        if not vendor.name and not findings.has_mistake(*path, "name"):
            findings.suspicion(path, "has no name", f"visitors read {id!r}")


def _vendor_purposes(path: Path, vendor: Vendor, known: Collection[str], findings: Findings) -> None:
    for number, purpose in enumerate(vendor.purposes):
        if purpose and purpose not in known:
            message, hint = f"unknown purpose {purpose!r}", did_you_mean(purpose, known)
            findings.mistake((*path, "purposes", number), message, hint)


def _gating(file: Registry, findings: Findings) -> None:
    mode, path = file.gating.mode, ("gating", "mode")
    hosts = [host for vendor in file.vendors.values() for host in vendor.hosts]
    if mode == "off":
        return
    if mode == "enforce" and not hosts:
        hint = 'write "report" to find what pages load, and declare that'
        findings.suspicion(path, "nothing is gated: no vendor has hosts", hint)
        return
    # Of two sets of allowed vendors the larger one has the longer policy.
    size = len(load_policy(_distinct([*file.site.hosts, *file.gating.allow, *hosts])))
    if size > _LONG_POLICY:
        message = f"the policy of who allows everything has {size:,} octets; nginx keeps 4,096 for all fields"
        findings.suspicion(path, message, _BUFFERS)


def _distinct(hosts: Iterable[str]) -> Iterable[HostPattern]:
    return dict.fromkeys(pattern for host in hosts if (pattern := HostPattern.parse(host)))


def _known_purposes(file: Registry) -> list[str]:
    """The ids of declared and standard purposes."""
    return list(dict.fromkeys([*file.purposes, *catalogue.purposes()]))


def _cookies(file: Registry, findings: Findings) -> None:
    known, cap = _known_purposes(file), _cap(file)
    _names(file, findings)
    for number, cookie in enumerate(file.cookies):
        path = ("cookies", number)
        if cookie.purpose and cookie.purpose not in known:
            message, hint = f"unknown purpose {cookie.purpose!r}", did_you_mean(cookie.purpose, known)
            findings.mistake((*path, "purpose"), message, hint)
        if cookie.vendor and cookie.vendor not in file.vendors:
            message, hint = f"unknown vendor {cookie.vendor!r}", did_you_mean(cookie.vendor, file.vendors)
            findings.mistake((*path, "vendor"), message, hint)
        _cookie_lifetime(path, cookie.lifetime, cap, findings)
        _domains_and_paths(path, cookie, file.site.hosts, findings)
    _trackers(file, findings)


def _names(file: Registry, findings: Findings) -> None:
    own = consent_cookie_names(file.consent.cookie)
    first: dict[str, int] = {}
    for number, cookie in enumerate(file.cookies):
        name, path = cookie.name, ("cookies", number, "name")
        if name in own:
            findings.mistake(path, f"{name!r} is the consent cookie itself", "leave this entry out")
        if name == "*":
            findings.suspicion(path, "a lone * declares every cookie there is", "name the cookies")
        if name and name in first:
            line = findings.line(("cookies", first[name], "name"))
            findings.mistake(path, f"{name!r} is declared already", f"first in line {line}")
        first.setdefault(name, number)


def _over_http(configured: str) -> str:
    """The name of the consent cookie over http."""
    for prefix in _PREFIXES:
        configured = configured.removeprefix(prefix)
    return configured


def consent_cookie_names(configured: str) -> set[str]:
    """All the names that the consent cookie may go by: over https, with a domain, over http."""
    plain = _over_http(configured)
    return {configured, plain, *(prefix + plain for prefix in _PREFIXES)}


def _cookie_lifetime(path: Path, lifetime: Period | Session | None, cap: Period, findings: Findings) -> None:
    if not isinstance(lifetime, Period):
        return
    match _overrun(lifetime, cap):
        case Overrun.ALWAYS:
            message = f"{str(lifetime)!r} is above the cap, {str(cap)!r}"
            findings.mistake((*path, "lifetime"), message, f'at most "{cap}"')
        case Overrun.SOMETIMES:
            message = f"{str(lifetime)!r} is cut where {cap} are shorter"
            findings.suspicion((*path, "lifetime"), message, f'did you mean "{cap}"?')


def _domains_and_paths(path: Path, rule: CookieRule, hosts: Sequence[str], findings: Findings) -> None:
    if rule.name.lower().startswith("__host-"):
        _host_prefix_demands(path, rule, findings)
    elif hosts and "" not in hosts:
        for number, domain in enumerate(rule.domains):
            if domain and not any(domain_matches(domain, host) for host in hosts):
                findings.suspicion((*path, "domain", number), f"{domain!r} covers none of site.hosts")


def _host_prefix_demands(path: Path, rule: CookieRule, findings: Findings) -> None:
    """Browsers refuse a `__Host-` cookie with a domain or another path (RFC 6265bis, section 4.1.3.2)."""
    for number in range(len(rule.domains)):
        message = f"a cookie named {rule.name!r} has no domain"
        findings.mistake((*path, "domain", number), message, "leave it out")
    for number, place in enumerate(rule.paths):
        if place not in {"", "/"}:
            message = f'a cookie named {rule.name!r} has the path "/"'
            findings.mistake((*path, "path", number), message, "leave it out")


def _trackers(file: Registry, findings: Findings) -> None:
    essential = {id for id, purpose in file.purposes.items() if purpose.basis is Basis.ESSENTIAL}
    for number, cookie in enumerate(file.cookies):
        tracker = _tracker(cookie.name) if cookie.purpose in essential else None
        if tracker:
            known, vendor, purpose = tracker["name"], tracker["vendor"], tracker["purpose"]
            message = f"{cookie.name!r} is declared essential, but {known!r} is known from {vendor}"
            findings.suspicion(("cookies", number, "purpose"), message, f"usually {purpose!r}")


def _tracker(name: str) -> catalogue.Table | None:
    """The well-known tracker whose cookies a rule with this name covers, None if there is none."""
    classify, by_name = _known_trackers()
    # Classified as if it were a name, a pattern matches a wider pattern.
    match = classify(name)
    if match:
        return by_name[match.name]
    # A rule "*" has its own warning.
    within = (known for known in by_name if "*" in name and name != "*" and subsumes(name, known))
    return next((by_name[known] for known in within), None)


@cache
def _known_trackers() -> tuple[Callable[[str], CookieRule | None], dict[str, catalogue.Table]]:
    by_name = {tracker["name"]: tracker for tracker in catalogue.trackers()}
    return classifier(CookieRule(name=name, purpose="") for name in by_name), by_name


def subsumes(pattern: str, other: str) -> bool:
    """Whether a pattern matches every name that the other name or pattern matches."""
    prefix, _, suffix = pattern.partition("*")
    start, star, end = other.partition("*")
    if star:
        return start.startswith(prefix) and end.endswith(suffix)
    return len(other) >= len(prefix + suffix) and other.startswith(prefix) and other.endswith(suffix)


def _languages(file: Registry, raw: dict[str, Any], findings: Findings) -> None:
    if findings.has_mistake("site", "languages"):
        return
    tables = [
        ("site",),
        *(("purposes", id) for id in file.purposes),
        *(("vendors", id) for id in file.vendors),
    ]
    for path in tables:
        for key, text in table_at(raw, *path).items():
            if isinstance(text, dict) and text:
                _wordings((*path, key), text, file.site.languages, findings)


def _wordings(path: Path, text: dict[str, Any], languages: Sequence[str], findings: Findings) -> None:
    for language in languages:
        if language and language not in text:
            findings.suspicion(path, f"has no wording in {language!r}")
