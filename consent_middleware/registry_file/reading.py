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
from .findings import Findings, syntax_mistake
from .forms import FILE, Form, form_of
from .registry import Registry

_RULE, _PURPOSE = form_of(CookieRule), form_of(Purpose)


class Reading(NamedTuple):
    """All that reading a file tells: a registry if there are no mistakes, and the findings."""

    registry: Registry | None
    mistakes: tuple[Mistake, ...] = ()
    suspicions: tuple[Mistake, ...] = ()


def delivered(reading: Reading) -> Registry:
    """The registry of a reading, its suspicions warned of; RegistryError if there are mistakes."""
    if reading.registry is None:
        raise RegistryError(reading.mistakes)
    for suspicion in reading.suspicions:
        warnings.warn(str(suspicion), RegistryWarning, stacklevel=3)
    return reading.registry


def examine(path: str | os.PathLike[str]) -> Reading:
    """What there is to say about a registry file, without raising or warning."""
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
    """The same for a text; `file` is what messages call it."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Reading(None, (syntax_mistake(file, text, error),))
    findings = Findings(file, text)
    written = _with_standard_purposes(FILE.read(_with_standard_keys(raw), (), findings), raw)
    check(written, raw, findings)
    registry = None if findings.mistakes else _completed(written)
    return Reading(registry, findings.mistakes, findings.suspicions)


def _with_standard_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """The file with what it leaves to the standard purpose of the same id."""
    standard = catalogue.purposes()
    purposes = {
        id: {**standard.get(id, {}), **own} if isinstance(own, dict) else own
        for id, own in table_at(raw, "purposes").items()
    }
    return {**raw, "purposes": purposes} if purposes else raw


def _with_standard_purposes(written: Registry, raw: dict[str, Any]) -> Registry:
    """The registry with the standard purposes that it uses without naming them; with all if it names none."""
    used = {rule.purpose for rule in (*written.cookies, *_preset_rules(written))}
    used.update(purpose for vendor in written.vendors.values() for purpose in vendor.purposes)
    missing = catalogue.purposes().keys() - written.purposes.keys()
    wanted = missing & used if "purposes" in raw else missing
    added = {id: _shipped(_PURPOSE, table, id) for id, table in catalogue.purposes().items() if id in wanted}
    # What is always on comes first on the pages.
    first = {id: purpose for id, purpose in added.items() if purpose.basis is Basis.ESSENTIAL}
    return replace(written, purposes={**first, **written.purposes, **added})


def _preset_rules(written: Registry) -> list[CookieRule]:
    """The rules that presets bring; the file's own come before them, and of two presets the first."""
    known = catalogue.presets()
    taken = {rule.name for rule in written.cookies}
    rules = []
    for preset in dict.fromkeys(written.presets):
        for entry in known.get(preset, ()):
            if entry["name"] not in taken:
                taken.add(entry["name"])
                rules.append(replace(_shipped(_RULE, entry), preset=preset))
    return rules


def _shipped(form: Form, entry: catalogue.Table, id: str = "") -> Any:
    """An entry of the catalogue, which has no mistakes."""
    return form.read(entry, (id,), Findings("catalogue", ""))


def _completed(written: Registry) -> Registry:
    """The registry with what follows from what is written, where the file itself says nothing."""
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
        vendors=_completed_vendors(written),
        # The site cannot be asked to write its cap into a preset.
        cookies=(*written.cookies, *(_capped(rule, cap) for rule in _preset_rules(written))),
    )


def _completed_vendors(written: Registry) -> dict[str, Vendor]:
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
