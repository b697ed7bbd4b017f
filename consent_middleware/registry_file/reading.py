"""From the text of a registry file to a `Registry`, or to everything that is wrong with it."""

import os
import tomllib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import msgspec

from consent_middleware import catalogue
from consent_middleware.core import registry as core
from consent_middleware.core.periods import Overrun, Period
from consent_middleware.errors import Mistake, RegistryError, RegistryWarning

from .checks import check, table_at
from .conversion import convert
from .findings import Findings, syntax_mistake
from .syntax import parsed_period
from .tables import ConsentTable, CookieTable, File, PurposeTable, VendorTable


class Registry(core.Registry):
    """What a site declares, as read from its registry file."""

    __slots__ = ()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Registry":
        """Read a registry file; see `read_registry`."""
        return _delivered(examine(path))

    @classmethod
    def from_text(cls, text: str) -> "Registry":
        """Read what would stand in a registry file; see `read_registry_text`."""
        return _delivered(examine_text(text))


@dataclass(frozen=True, slots=True)
class Reading:
    """All that reading a file tells: a registry if there are no mistakes, and the findings."""

    registry: Registry | None
    mistakes: tuple[Mistake, ...] = ()
    suspicions: tuple[Mistake, ...] = ()


def read_registry(path: str | os.PathLike[str]) -> Registry:
    """Read a registry file (TOML 1.0, UTF-8).

    Raises `RegistryError` with all mistakes at once; suspicions are warned of as `RegistryWarning`.
    """
    return _delivered(examine(path))


def read_registry_text(text: str, file: str = "<text>") -> Registry:
    """The same for a text; `file` is what messages call it."""
    return _delivered(examine_text(text, file))


def _delivered(reading: Reading) -> Registry:
    if reading.registry is None:
        raise RegistryError(reading.mistakes)
    for suspicion in reading.suspicions:
        warnings.warn(str(suspicion), RegistryWarning, stacklevel=3)
    return reading.registry


def examine(path: str | os.PathLike[str]) -> Reading:
    """What there is to say about a registry file, without raising or warning."""
    file = os.fspath(path)
    try:
        octets = FilePath(path).read_bytes()
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Reading(None, (Mistake(file, line, "", "not UTF-8", "save the file as UTF-8"),))
    except OSError as error:
        return Reading(None, (Mistake(file, 0, "", f"cannot be read: {error.strerror}"),))
    return examine_text(text, file)


def examine_text(text: str, file: str = "<text>") -> Reading:
    """The same for a text; `file` is what messages call it."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Reading(None, (syntax_mistake(file, text, error),))
    findings = Findings(file, text)
    tables = _completed(convert(_with_standard_keys(raw), findings), raw)
    check(tables, raw, findings)
    registry = None if findings.mistakes else _registry(tables)
    return Reading(registry, findings.mistakes, findings.suspicions)


def _with_standard_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """The file with what it leaves to the standard purpose of the same id."""
    standard = catalogue.purposes()
    purposes = {
        id: {**standard.get(id, {}), **own} if isinstance(own, dict) else own
        for id, own in table_at(raw, "purposes").items()
    }
    return {**raw, "purposes": purposes} if purposes else raw


def _completed(file: File, raw: dict[str, Any]) -> File:
    """The file with the standard purposes that it uses without naming them; with all if it names none."""
    used = {cookie.purpose for cookie in (*file.cookies, *_preset_cookies(file).values())}
    used.update(purpose for vendor in file.vendors.values() for purpose in vendor.purposes)
    added = {
        id: msgspec.convert(table, PurposeTable)
        for id, table in catalogue.purposes().items()
        if id not in file.purposes and (id in used or "purposes" not in raw)
    }
    # What is always on comes first on the pages.
    first = {id: table for id, table in added.items() if table.basis == "essential"}
    return msgspec.structs.replace(file, purposes={**first, **file.purposes, **added})


def _preset_cookies(file: File) -> dict[tuple[str, str], CookieTable]:
    """The entries that presets bring, by preset and name; the file's own entries come before them."""
    known = catalogue.presets()
    taken = {cookie.name for cookie in file.cookies}
    cookies = {}
    for preset in dict.fromkeys(file.presets):
        for entry in known.get(preset, ()):
            if entry["name"] not in taken:
                taken.add(entry["name"])
                cookies[preset, entry["name"]] = msgspec.convert(entry, CookieTable)
    return cookies


def _registry(file: File) -> Registry:
    site, consent = file.site, file.consent
    own = [_rule(cookie) for cookie in file.cookies]
    cap = parsed_period(consent.max_lifetime)
    brought = [_capped(_rule(cookie, preset), cap) for (preset, _), cookie in _preset_cookies(file).items()]
    return Registry(
        version=file.version,
        site=core.Site(
            id=site.id or next(iter(site.hosts), ""),
            name=_text(site.name),
            hosts=tuple(site.hosts),
            contact=_text(site.contact),
            policy_updated=site.policy_updated,
            languages=tuple(site.languages),
        ),
        consent=_consent(consent),
        purposes={id: _purpose(id, table) for id, table in file.purposes.items()},
        vendors=_vendors(file),
        cookies=(*own, *brought),
        gating=core.Gating(mode=file.gating.mode, allow=tuple(file.gating.allow)),
        records=core.RecordSettings(retention=parsed_period(file.records.retention)),
    )


def _text(value: str | dict[str, str]) -> core.LocalizedText:
    return core.LocalizedText.of(value) if value else core.LocalizedText()


def _consent(table: ConsentTable) -> core.ConsentSettings:
    cap = parsed_period(table.max_lifetime)
    return core.ConsentSettings(
        cookie=table.cookie,
        domain=table.domain,
        https=table.https,
        path=table.path,
        lifetime=_shorter(parsed_period(table.lifetime), cap),
        refusal_lifetime=_shorter(parsed_period(table.refusal_lifetime), cap),
        max_lifetime=cap,
        unknown=table.unknown,
        undeclared_request=table.undeclared_request,
        mode=table.mode,
        gpc=table.gpc,
        dnt=table.dnt,
        acceptance=table.acceptance,
        model=table.model,
        cors_origins=tuple(table.cors_origins),
        set_cookie_headers=tuple(table.set_cookie_headers),
    )


def _shorter(period: Period, cap: Period) -> Period:
    return period if period.overrun(cap) is Overrun.NEVER else cap


def _purpose(id: str, table: PurposeTable) -> core.Purpose:
    return core.Purpose(
        id=id,
        title=_text(table.title or id),
        description=_text(table.description),
        basis=core.Basis(table.basis),
        since=table.since,
        sale=table.sale,
        secure=table.secure,
        httponly=table.httponly,
        samesite=table.samesite,
    )


def _vendors(file: File) -> dict[str, core.Vendor]:
    purposes: dict[str | None, dict[str, None]] = {}
    for cookie in file.cookies:
        purposes.setdefault(cookie.vendor, {})[cookie.purpose] = None
    return {id: _vendor(id, table, purposes.get(id, ())) for id, table in file.vendors.items()}


def _vendor(id: str, table: VendorTable, of_its_cookies: Iterable[str]) -> core.Vendor:
    return core.Vendor(
        id=id,
        name=_text(table.name or id),
        purposes=tuple(dict.fromkeys(table.purposes or of_its_cookies)),
        privacy_url=_text(table.privacy_url),
        opt_out_url=_text(table.opt_out_url),
        hosts=tuple(table.hosts),
        google_consent=tuple(table.google_consent),
        since=table.since,
    )


def _rule(table: CookieTable, preset: str | None = None) -> core.CookieRule:
    lifetime = table.lifetime
    return core.CookieRule(
        name=table.name,
        purpose=table.purpose,
        vendor=table.vendor,
        lifetime="session" if lifetime == "session" else parsed_period(lifetime) if lifetime else None,
        description=_text(table.description),
        data=tuple(_text(entry) for entry in table.data),
        domains=_several(table.domain),
        paths=_several(table.path),
        partitioned=table.partitioned,
        secure=table.secure,
        httponly=table.httponly,
        samesite=table.samesite,
        preset=preset,
    )


def _several(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _capped(rule: core.CookieRule, cap: Period) -> core.CookieRule:
    """A preset's rule within the site's cap, which the site cannot be asked to write into the preset."""
    if not isinstance(rule.lifetime, Period):
        return rule
    return replace(rule, lifetime=_shorter(rule.lifetime, cap))
