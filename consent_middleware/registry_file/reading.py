"""From the text of a registry file to a `Registry`, or to everything that is wrong with it."""

import os
import tomllib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from consent_middleware import catalogue
from consent_middleware.core.periods import Overrun, Period
from consent_middleware.core.registry import Basis, CookieRule, LocalizedText, Purpose, Vendor
from consent_middleware.errors import Mistake, RegistryError, RegistryWarning

from .checks import check, table_at
from .converters import FILE, Converter, converter_for
from .findings import Findings, syntax_mistake
from .registry import Registry

_RULE, _PURPOSE = converter_for(CookieRule), converter_for(Purpose)


class Reading(NamedTuple):
    """The result of reading a file: the registry, None if there are mistakes, and all findings."""

    registry: Registry | None
    mistakes: tuple[Mistake, ...] = ()
    suspicions: tuple[Mistake, ...] = ()


def registry_or_error(reading: Reading) -> Registry:
    """The registry of a reading, its suspicions warned of; RegistryError if there are mistakes."""
    if reading.registry is None:
        raise RegistryError(reading.mistakes)
    for suspicion in reading.suspicions:
        warnings.warn(str(suspicion), RegistryWarning, stacklevel=3)
    return reading.registry


def examine(path: str | os.PathLike[str]) -> Reading:
    """Read a registry file and return all findings, without raising or warning."""
    file = os.fspath(path)
    try:
        octets = Path(path).read_bytes()
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Reading(None, (Mistake(file, line, "", "not UTF-8", "save the file as UTF-8"),))
    except OSError as error:
        return Reading(None, (Mistake(file, 0, "", f"cannot be read: {error.strerror}"),))
    return examine_text(text, file)


def examine_text(text: str, file: str = "<text>") -> Reading:
    """Read a registry from a text; `file` is the name that messages give it."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Reading(None, (syntax_mistake(file, text, error),))
    findings = Findings(file, text)
    written = _with_standard_purposes(FILE.convert(_with_standard_keys(raw), (), findings), raw)
    check(written, raw, findings)
    registry = None if findings.mistakes else _with_derived_values(written)
    return Reading(registry, findings.mistakes, findings.suspicions)


def _with_standard_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """The file's tables; the keys that a purpose leaves out are those of the standard purpose with its id."""
    standard = catalogue.purposes()
    purposes = {
        id: {**standard.get(id, {}), **own} if isinstance(own, dict) else own
        for id, own in table_at(raw, "purposes").items()
    }
    return {**raw, "purposes": purposes} if purposes else raw


def _with_standard_purposes(written: Registry, raw: dict[str, Any]) -> Registry:
    """Add the standard purposes that are used but not declared; all of them if the file declares none."""
    used = {rule.purpose for rule in (*written.cookies, *_preset_rules(written))}
    used.update(purpose for vendor in written.vendors.values() for purpose in vendor.purposes)
    missing = catalogue.purposes().keys() - written.purposes.keys()
    wanted = missing & used if "purposes" in raw else missing
    standard = catalogue.purposes().items()
    added = {id: _from_catalogue(_PURPOSE, table, id) for id, table in standard if id in wanted}
    # Pages list essential purposes first.
    first = {id: purpose for id, purpose in added.items() if purpose.basis is Basis.ESSENTIAL}
    return replace(written, purposes={**first, **written.purposes, **added})


def _preset_rules(written: Registry) -> list[CookieRule]:
    """The rules of the presets, without names that the file itself, or an earlier preset, declares."""
    known = catalogue.presets()
    taken = {rule.name for rule in written.cookies}
    rules = []
    for preset in dict.fromkeys(written.presets):
        for entry in known.get(preset, ()):
            if entry["name"] not in taken:
                taken.add(entry["name"])
                rules.append(replace(_from_catalogue(_RULE, entry), preset=preset))
    return rules


def _from_catalogue(converter: Converter, entry: catalogue.Table, id: str = "") -> Any:
    """Convert an entry of the catalogue, which tests keep free of mistakes."""
    return converter.convert(entry, (id,), Findings("catalogue", ""))


def _with_derived_values(written: Registry) -> Registry:
    """Fill in what the file leaves out and what follows from its other keys."""
    site, cap = written.site, written.consent.max_lifetime
    return replace(
        written,
        site=replace(site, id=site.id or next(iter(site.hosts), "")),
        consent=replace(
            written.consent,
            lifetime=_shorter(written.consent.lifetime, cap),
            refusal_lifetime=_shorter(written.consent.refusal_lifetime, cap),
        ),
        purposes={
            id: replace(purpose, title=purpose.title or LocalizedText.of(id))
            for id, purpose in written.purposes.items()
        },
        vendors=_vendors_with_derived_values(written),
        # The site cannot be asked to write its cap into a preset.
        cookies=(*written.cookies, *(_capped(rule, cap) for rule in _preset_rules(written))),
    )


def _vendors_with_derived_values(written: Registry) -> dict[str, Vendor]:
    purposes: dict[str | None, dict[str, None]] = {}
    for rule in written.cookies:
        purposes.setdefault(rule.vendor, {})[rule.purpose] = None
    return {
        id: replace(
            vendor,
            name=vendor.name or LocalizedText.of(id),
            purposes=tuple(dict.fromkeys(vendor.purposes or purposes.get(id, ()))),
        )
        for id, vendor in written.vendors.items()
    }


def _shorter(period: Period, cap: Period) -> Period:
    return period if period.overrun(cap) is Overrun.NEVER else cap


def _capped(rule: CookieRule, cap: Period) -> CookieRule:
    return replace(rule, lifetime=_shorter(rule.lifetime, cap)) if isinstance(rule.lifetime, Period) else rule
