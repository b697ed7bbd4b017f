"""What a choice allows: the rules of consent, read from a choice, the law model and the signals.

The rules, for a cookie that falls under a rule of the registry:

- Basis essential: allowed, always.
- Basis objection: allowed, unless its purpose, its vendor or the cookie itself is refused.
- Basis consent: allowed if the choice has not ended, neither its vendor nor the cookie itself is refused,
  the choice covers purpose and vendor (`since`), and the purpose is granted, or the vendor or the cookie
  is granted alone.

Under the law models `opt-out` and `none`, basis consent is allowed too until the visitor has chosen. In all
models refusals and honoured signals win.
"""

from typing import NamedTuple

import msgspec

from .compiled import EVERYTHING_COVERED, NOTHING, CompiledRegistry
from .consent import Consent
from .registry import CookieRule

Ids = tuple[str, ...]


class Grounds(NamedTuple):
    """All that permissions follow from; equal for visitors who chose alike, so it holds no date and no id."""

    purposes: Ids = ()
    granted_vendors: Ids = ()
    granted_cookies: Ids = ()
    refused_purposes: Ids = ()
    refused_vendors: Ids = ()
    refused_cookies: Ids = ()
    version: int = 0
    refused_by_signals: frozenset[str] = NOTHING
    live: bool = False
    """Whether the choice has not ended: after its end only its refusals are left."""
    by_default: bool = False
    """Whether what needs consent is allowed where nobody decided about it (opt-out, none)."""
    decided: bool = False
    """Whether what is not allowed was refused; else nobody was asked yet."""

    @classmethod
    def of(
        cls,
        consent: Consent,
        refused_by_signals: frozenset[str],
        *,
        live: bool,
        by_default: bool,
        decided: bool,
    ) -> "Grounds":
        """The grounds that a choice gives."""
        return cls(
            consent.purposes,
            consent.granted_vendors,
            consent.granted_cookies,
            consent.refused_purposes,
            consent.refused_vendors,
            consent.refused_cookies,
            consent.version,
            refused_by_signals,
            live,
            by_default,
            decided,
        )


class Permissions(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is permitted on some grounds: shared by all visitors who chose alike."""

    compiled: CompiledRegistry
    open_purposes: frozenset[str]
    """Purposes whose cookies may be stored, but for what is refused below them."""
    openable: frozenset[str]
    """Purposes under which something granted alone opens: covered by a live choice, refused by no signal."""
    granted_vendors: frozenset[str]
    granted_cookies: frozenset[str]
    refused_vendors: frozenset[str]
    refused_cookies: frozenset[str]
    uncovered_vendors: frozenset[str]
    """Vendors that were added after the choice, and of which something needs consent."""
    decided: bool
    by_default: bool
    """Whether what needs consent is open because the law model says so, without a choice."""

    def allows(self, purpose: str) -> bool:
        """Whether cookies of this purpose may be stored; an unknown purpose may not."""
        return purpose in self.open_purposes

    def allows_rule(self, rule: CookieRule) -> bool:
        """Whether the cookies of this rule may be stored."""
        purpose = rule.purpose
        if purpose in self.compiled.essential:
            return True
        if rule.vendor in self.refused_vendors or rule.name in self.refused_cookies:
            return False
        if purpose in self.compiled.by_objection:
            return purpose in self.open_purposes
        if rule.vendor in self.uncovered_vendors:
            return False
        return purpose in self.open_purposes or (purpose in self.openable and self._granted_alone(rule))

    def _granted_alone(self, rule: CookieRule) -> bool:
        return rule.vendor in self.granted_vendors or rule.name in self.granted_cookies

    def allows_vendor(self, id: str) -> bool:
        """Whether a vendor's hosts may be reached; a host cannot be half open, and an unknown vendor's not.

        For all of its purposes, or because it is granted alone and each of its purposes can be opened.
        """
        purposes = self.compiled.purposes_of_vendor(id)
        if self.compiled.essential.issuperset(purposes):
            return bool(purposes)
        if id in self.refused_vendors:
            return False
        if id in self.uncovered_vendors and not self.compiled.by_consent.isdisjoint(purposes):
            return False
        if self.open_purposes.issuperset(purposes):
            return True
        return id in self.granted_vendors and self.openable.issuperset(purposes)

    def allowed_vendors(self) -> frozenset[str]:
        """All vendors whose hosts may be reached."""
        return frozenset(id for id in self.compiled.registry.vendors if self.allows_vendor(id))


def permissions_on(compiled: CompiledRegistry, grounds: Grounds) -> Permissions:
    """Work out what is permitted on some grounds."""
    free = compiled.essential | compiled.by_objection
    uncovered = EVERYTHING_COVERED if grounds.by_default else compiled.uncovered(grounds.version)
    covered = compiled.by_consent - uncovered.purposes if grounds.live or grounds.by_default else NOTHING
    by_default = covered.difference(grounds.refused_purposes) if grounds.by_default else NOTHING
    granted = by_default | covered.intersection(grounds.purposes)
    allowed = free.difference(grounds.refused_purposes) | compiled.essential | granted
    return Permissions(
        compiled=compiled,
        open_purposes=allowed - grounds.refused_by_signals,
        openable=(free | covered) - grounds.refused_by_signals,
        granted_vendors=frozenset(grounds.granted_vendors),
        granted_cookies=frozenset(grounds.granted_cookies),
        refused_vendors=frozenset(grounds.refused_vendors),
        refused_cookies=frozenset(grounds.refused_cookies),
        uncovered_vendors=uncovered.vendors,
        decided=grounds.decided,
        by_default=grounds.by_default,
    )
