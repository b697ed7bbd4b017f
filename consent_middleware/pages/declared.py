"""What a registry declares, as the templates show it: purposes, their vendors, the cookies of each."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..core.compiled import CompiledRegistry
from ..core.registry import Basis, CookieRule, Purpose, Registry, Vendor
from ..core.visitor import VisitorView
from .wording import Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieEntry:
    """One cookie, or pattern of cookies."""

    name: str
    description: str
    data: tuple[str, ...]
    lifetime: str
    refused: bool
    allowed: bool
    """Whether it is granted alone, without its purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorEntry:
    """A vendor under one of its purposes; `id` is "" for the site itself.

    It is decided about under the first of its optional purposes, `home`; `also` are the others.
    """

    id: str
    name: str
    privacy_url: str = ""
    opt_out_url: str = ""
    cookies: tuple[CookieEntry, ...]
    refused: bool = False
    allowed: bool = False
    """Whether it is granted alone, without its purpose."""
    is_new: bool = False
    is_home: bool = True
    home: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeEntry:
    """A purpose with the visitor's answer to it."""

    id: str
    title: str
    description: str
    basis: Basis
    sale: bool
    granted: bool
    objected: bool
    is_new: bool
    vendors: tuple[VendorEntry, ...]
    """With the site itself first, if it has cookies of this purpose."""

    @property
    def partners(self) -> int:
        """How many parties there are besides the site."""
        return sum(bool(vendor.id) for vendor in self.vendors)

    @property
    def cookies(self) -> int:
        """How many cookies are declared."""
        return sum(len(vendor.cookies) for vendor in self.vendors)


class Declared:
    """Everything declared, in one language, for one visitor."""

    def __init__(self, registry: Registry, wording: Wording, view: VisitorView) -> None:
        self._registry, self._wording, self._view = registry, wording, view
        made = view.consent
        self._refused_vendors = set(made.refused_vendors) if made else set[str]()
        self._refused_cookies = set(made.refused_cookies) if made else set[str]()
        self._objected = set(made.refused_purposes) if made else set[str]()
        live = view.live_consent
        self._granted = set(live.purposes) if live else set[str]()
        self._allowed_vendors = set(live.granted_vendors) if live else set[str]()
        self._allowed_cookies = set(live.granted_cookies) if live else set[str]()
        self._version = made.version if made else registry.version

    def purposes(self) -> tuple[PurposeEntry, ...]:
        """All purposes, in the order of the registry."""
        return tuple(map(self._purpose, self._registry.purposes.values()))

    def optional(self) -> tuple[PurposeEntry, ...]:
        """Those that a visitor decides about."""
        return tuple(entry for entry in self.purposes() if entry.basis is not Basis.ESSENTIAL)

    def vendors(self) -> tuple[VendorEntry, ...]:
        """All vendors, once each."""
        return tuple(self._vendor(vendor, None) for vendor in self._registry.vendors.values())

    def data(self) -> tuple[str, ...]:
        """Everything that cookies collect, once each."""
        texts = (self._wording.pick(text) for rule in self._registry.cookies for text in rule.data)
        return tuple(dict.fromkeys(texts))

    def _purpose(self, purpose: Purpose) -> PurposeEntry:
        return PurposeEntry(
            id=purpose.id,
            title=self._wording.pick(purpose.title),
            description=self._wording.pick(purpose.description),
            basis=purpose.basis,
            sale=purpose.sale,
            granted=purpose.id in self._granted and self._view.permissions.allows(purpose.id),
            objected=purpose.id in self._objected,
            is_new=purpose.since > self._version,
            vendors=tuple(self._parties(purpose)),
        )

    def _parties(self, purpose: Purpose) -> Iterator[VendorEntry]:
        own = self._cookies(None, purpose)
        if own:
            yield VendorEntry(id="", name=self._wording.site, cookies=own)
        for vendor in self._registry.vendors.values():
            if purpose.id in vendor.purposes or any(self._rules(vendor.id, purpose)):
                yield self._vendor(vendor, purpose)

    def _vendor(self, vendor: Vendor, purpose: Purpose | None) -> VendorEntry:
        purposes = self._registry.purposes
        optional = [id for id in vendor.purposes if purposes[id].basis is not Basis.ESSENTIAL]
        home = optional[0] if optional else vendor.purposes[0]
        is_new = vendor.since > self._version
        return VendorEntry(
            id=vendor.id,
            name=self._wording.pick(vendor.name),
            privacy_url=self._wording.pick(vendor.privacy_url),
            opt_out_url=self._wording.pick(vendor.opt_out_url),
            cookies=self._cookies(vendor.id, purpose),
            # What nobody has agreed to yet stays off until somebody does: nothing is ticked beforehand.
            refused=vendor.id in self._refused_vendors or is_new,
            allowed=vendor.id in self._allowed_vendors and not is_new,
            is_new=is_new,
            is_home=purpose is None or purpose.id == home,
            home=self._wording.pick(purposes[home].title),
            also=tuple(self._wording.pick(purposes[id].title) for id in optional if id != home),
        )

    def _rules(self, vendor: str | None, purpose: Purpose | None) -> Iterator[CookieRule]:
        for rule in self._registry.cookies:
            if rule.vendor == vendor and (purpose is None or rule.purpose == purpose.id):
                yield rule

    def _cookies(self, vendor: str | None, purpose: Purpose | None) -> tuple[CookieEntry, ...]:
        return tuple(
            CookieEntry(
                name=rule.name,
                description=self._wording.pick(rule.description),
                data=tuple(map(self._wording.pick, rule.data)),
                lifetime=self._wording.lifetime(rule),
                refused=rule.name in self._refused_cookies,
                allowed=rule.name in self._allowed_cookies,
            )
            for rule in self._rules(vendor, purpose)
        )


def state_word(compiled: CompiledRegistry, view: VisitorView) -> str:
    """What the visitor's choice comes to: `undecided`, `granted`, `refused` or `custom`."""
    if not view.decided:
        return "undecided"
    registry, permissions = compiled.registry, view.permissions
    answers = {permissions.allows(id) for id in compiled.by_consent | compiled.by_objection}
    answers |= {permissions.allows_rule(rule) for rule in compiled.optional_cookies.values()}
    answers |= {
        permissions.allows_vendor(vendor.id)
        for vendor in registry.vendors.values()
        if not compiled.essential.issuperset(vendor.purposes)
    }
    return {frozenset({True}): "granted", frozenset({False}): "refused"}.get(frozenset(answers), "custom")
