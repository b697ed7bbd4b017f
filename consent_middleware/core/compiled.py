"""The registry made ready for requests: built once at start, then only read."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from .consent import NO_SIGNALS, SKEW, Consent, Signals
from .registry import Basis, CookieRule, LawModel, Registry, Vendor

NOTHING = frozenset[str]()


class Uncovered(NamedTuple):
    """What needs consent and was added to the registry after a choice was made.

    Of the vendors, those of which something does: a purpose of their own or of one of their cookies.
    """

    purposes: frozenset[str]
    vendors: frozenset[str]


EVERYTHING_COVERED = Uncovered(NOTHING, NOTHING)


class CompiledRegistry(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A registry with what follows from it: purposes by basis, and what each version covers."""

    registry: Registry
    essential: frozenset[str]
    by_consent: frozenset[str]
    by_objection: frozenset[str]
    sale: frozenset[str]
    """Purposes that Global Privacy Control refuses."""
    optional_cookies: dict[str, CookieRule]
    """The rules that the visitor decides about, by name."""
    asked_digest: str
    """Tells one list of questions from another: a digest of all that gives a yes its meaning."""
    purposes_near_vendor: dict[str, frozenset[str]]
    """The purposes of each vendor and of its cookies, which may be of others than it names."""
    _sinces: tuple[int, ...]
    _uncovered: tuple[Uncovered, ...]

    def asks(self, model: LawModel) -> bool:
        """Whether there is anything to ask a visitor about, under a law model that lets one ask."""
        return model != "none" and bool(self.by_consent or self.by_objection)

    def uncovered(self, version: int) -> Uncovered:
        """What a choice at this version of the registry does not cover."""
        return self._uncovered[bisect_right(self._sinces, version)]

    def has_additions(self, version: int) -> bool:
        """Whether there is anything that a choice at this version of the registry does not cover."""
        uncovered = self.uncovered(version)
        return bool(uncovered.purposes or uncovered.vendors)

    def dates(self, consent: Consent) -> tuple[datetime, datetime]:
        """When a choice ends, and from when on the visitor is asked again, registry changes aside.

        That is the same, whatever its mix; but one that grants nothing is kept as long as the cap allows.
        """
        settings, start = self.registry.consent, consent.decided_at
        if not consent.grants:
            return settings.max_lifetime.after(start), settings.refusal_lifetime.after(start)
        end = settings.lifetime.after(start)
        return end, end

    def ends(self, consent: Consent) -> datetime:
        """When a choice ends."""
        return self.dates(consent)[0]

    def is_kept(self, consent: Consent, now: datetime) -> bool:
        """Whether a choice still says anything: not from the future, and its refusals not forgotten."""
        kept_until = self.registry.consent.max_lifetime.after(consent.decided_at)
        return consent.decided_at <= now + SKEW and now < kept_until

    def measuring_ends(self, since: datetime) -> datetime:
        """When exempt measurement that began at `since` ends."""
        return self.registry.consent.max_lifetime.after(since)

    def purposes_of_vendor(self, id: str) -> tuple[str, ...]:
        """The purposes of a vendor, none if it is unknown."""
        vendor = self.registry.vendors.get(id)
        return vendor.purposes if vendor else ()

    def honoured(self, signals: Signals) -> Signals:
        """Those of the signals that the registry honours."""
        settings = self.registry.consent
        return Signals(
            gpc=signals.gpc and settings.gpc == "refuse", dnt=signals.dnt and settings.dnt == "refuse"
        )

    def meant_by_signals(self, signals: Signals) -> frozenset[str]:
        """The purposes that signals speak of, honoured or not.

        Global Privacy Control speaks of sale and sharing. Do Not Track is also an objection to measurement
        that needs no consent. Neither ever grants anything.
        """
        meant = (self.sale if any(signals) else NOTHING) | (self.by_objection if signals.dnt else NOTHING)
        return meant - self.essential

    def concerned(self, signals: Signals, purposes: Iterable[str]) -> Signals:
        """Those of the signals that speak of one of these purposes."""
        gpc, dnt = map(self.meant_by_signals, (Signals(gpc=True), Signals(dnt=True)))
        return Signals(
            gpc=signals.gpc and not gpc.isdisjoint(purposes), dnt=signals.dnt and not dnt.isdisjoint(purposes)
        )

    def refused_by_signals(self, signals: Signals) -> frozenset[str]:
        """The purposes that the signals of a request refuse, as the registry honours them."""
        if signals is NO_SIGNALS:
            return NOTHING
        return self.meant_by_signals(self.honoured(signals))


def compile_registry(registry: Registry) -> CompiledRegistry:
    """Work out once what requests ask of a registry."""
    by_basis = {basis: _with_basis(registry, basis) for basis in Basis}
    by_consent, essential = by_basis[Basis.CONSENT], by_basis[Basis.ESSENTIAL]
    optional = {rule.name: rule for rule in registry.cookies if rule.purpose not in essential}
    near = _purposes_near_vendors(registry)
    sinces, uncovered = _coverage(registry, by_consent, near)
    return CompiledRegistry(
        registry=registry,
        essential=essential,
        by_consent=by_consent,
        by_objection=by_basis[Basis.OBJECTION],
        sale=frozenset(id for id, purpose in registry.purposes.items() if purpose.sale),
        optional_cookies=optional,
        asked_digest=_digest_of_questions(registry, essential, optional.values()),
        purposes_near_vendor=near,
        _sinces=sinces,
        _uncovered=uncovered,
    )


def _coverage(
    registry: Registry, by_consent: frozenset[str], near: Mapping[str, frozenset[str]]
) -> tuple[tuple[int, ...], tuple[Uncovered, ...]]:
    """The versions at which questions came, and what is not covered before the first and from each on."""
    needing = [vendor for vendor in registry.vendors.values() if not by_consent.isdisjoint(near[vendor.id])]
    sinces = sorted({registry.purposes[id].since for id in by_consent} | {vendor.since for vendor in needing})
    versions = (0, *sinces)
    return tuple(sinces), tuple(_uncovered_at(registry, by_consent, needing, one) for one in versions)


def _with_basis(registry: Registry, basis: Basis) -> frozenset[str]:
    return frozenset(id for id, purpose in registry.purposes.items() if purpose.basis is basis)


def _purposes_near_vendors(registry: Registry) -> dict[str, frozenset[str]]:
    near = {vendor.id: set(vendor.purposes) for vendor in registry.vendors.values()}
    for rule in registry.cookies:
        if rule.vendor in near:
            near[rule.vendor].add(rule.purpose)
    return {id: frozenset(purposes) for id, purposes in near.items()}


def _uncovered_at(
    registry: Registry, by_consent: frozenset[str], needing: Iterable[Vendor], version: int
) -> Uncovered:
    return Uncovered(
        frozenset(id for id in by_consent if registry.purposes[id].since > version),
        frozenset(vendor.id for vendor in needing if vendor.since > version),
    )


def _digest_of_questions(
    registry: Registry, essential: frozenset[str], optional_cookies: Iterable[CookieRule]
) -> str:
    """A digest over what the visitor decides about, with all that makes a yes to it mean something else.

    That is what it opens, from which version on, and whether it lifts a signal. Words are not part of it: a
    wording that is mended while somebody reads it makes no answer void.
    """
    asked: list[list[object]] = [
        ["purpose", purpose.id, purpose.since, purpose.basis, purpose.sale]
        for purpose in registry.purposes.values()
        if purpose.id not in essential
    ]
    asked += [
        ["vendor", vendor.id, vendor.since, sorted(set(vendor.purposes) - essential)]
        for vendor in registry.vendors.values()
        if not essential.issuperset(vendor.purposes)
    ]
    asked += [["cookie", rule.name, rule.purpose, rule.vendor] for rule in optional_cookies]
    lines = sorted(json.dumps(question) for question in asked)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
