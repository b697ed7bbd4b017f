"""From what a visitor was offered and answered to a Consent.

Every answer restates everything that was offered, so what an answer leaves out is refused.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from .consent import Consent, Terms


class Choice(StrEnum):
    """The four things that a visitor can say."""

    ACCEPT_ALL = "accept-all"
    REJECT_ALL = "reject-all"
    SAVE = "save"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a visitor said. The maps from id to yes or no matter to `save` alone.

    A vendor or cookie (by the name of its rule) that is not in its map follows its purpose; a purpose that
    needs consent and is not in its map is refused; one that needs none stays unless it is refused.
    """

    choice: Choice
    purposes: Mapping[str, bool] = field(default_factory=dict)
    vendors: Mapping[str, bool] = field(default_factory=dict)
    cookies: Mapping[str, bool] = field(default_factory=dict)


def decide(answer: Answer, terms: Terms, now: datetime, *, new_id: str, gpc: bool = False) -> Consent:
    """The choice that an answer makes at `now`; `gpc` says whether the signal was present.

    `new_id` is the random id that the choice gets if it grants anything.
    """
    match answer.choice:
        case Choice.ACCEPT_ALL:
            made = Consent(
                decided_at=now, version=terms.registry.version, purposes=tuple(terms.by_consent), gpc=gpc
            )
        case Choice.SAVE:
            made = _saved(answer, terms, now, gpc=gpc)
        case _:
            made = refusal(terms, now, gpc=gpc)
    return replace(made, id=new_id) if made.purposes else made


def refusal(terms: Terms, now: datetime, *, gpc: bool = False) -> Consent:
    """Everything refused: what reject-all and a withdrawal leave."""
    return Consent(
        decided_at=now, version=terms.registry.version, refused_purposes=tuple(terms.by_objection), gpc=gpc
    )


def _saved(answer: Answer, terms: Terms, now: datetime, *, gpc: bool) -> Consent:
    granted = {id for id, yes in answer.purposes.items() if yes} & terms.by_consent
    objected = {id for id, yes in answer.purposes.items() if not yes} & terms.by_objection
    refused_vendors = {id for id, yes in answer.vendors.items() if not yes}
    refused_cookies = {name for name, yes in answer.cookies.items() if not yes}
    alone = _granted_alone(answer, terms, granted | (terms.by_objection - objected))
    return Consent(
        decided_at=now,
        version=terms.registry.version,
        purposes=tuple(granted | (alone.purposes & terms.by_consent)),
        refused_purposes=tuple(objected - alone.purposes),
        refused_vendors=tuple((refused_vendors | alone.refused_vendors) & set(terms.registry.vendors)),
        refused_cookies=tuple((refused_cookies | alone.refused_cookies) & _optional_cookies(terms)),
        gpc=gpc,
    )


@dataclass(frozen=True, slots=True)
class _Alone:
    """Purposes that are opened for some vendors or cookies, and what is refused under them instead."""

    purposes: frozenset[str] = frozenset()
    refused_vendors: frozenset[str] = frozenset()
    refused_cookies: frozenset[str] = frozenset()


def _granted_alone(answer: Answer, terms: Terms, open_purposes: Collection[str]) -> _Alone:
    """Keep a yes to a vendor or cookie without its purpose as the purpose, less all else under it.

    A vendor is refused for all of its purposes or for none. So one that is offered under a purpose opened
    here is refused, though another of its purposes may be granted: its hosts must not open by this.
    """
    registry = terms.registry
    vendors = {id for id, yes in answer.vendors.items() if yes and id in registry.vendors}
    wanted = {name for name, yes in answer.cookies.items() if yes} & _optional_cookies(terms)
    refused = {id for id, yes in answer.vendors.items() if not yes}
    cookies = [rule for rule in registry.cookies if rule.name in wanted and rule.vendor not in refused]
    opened = {purpose for id in vendors for purpose in registry.vendors[id].purposes}
    opened |= {rule.purpose for rule in cookies}
    opened -= set(open_purposes) | terms.essential
    unwanted = {
        rule.name
        for rule in registry.cookies
        if rule.purpose in opened and rule not in cookies and rule.vendor not in vendors
    }
    serving = {rule.vendor for rule in cookies if rule.purpose in opened}
    closed = {
        vendor.id
        for vendor in registry.vendors.values()
        if vendor.id not in vendors | serving and opened.intersection(vendor.purposes)
    }
    return _Alone(frozenset(opened), frozenset(closed), frozenset(unwanted))


def _optional_cookies(terms: Terms) -> set[str]:
    return {rule.name for rule in terms.registry.cookies if rule.purpose not in terms.essential}


def with_grant(
    consent: Consent | None, purposes: Collection[str], terms: Terms, now: datetime, *, new_id: str, gpc: bool
) -> Consent:
    """The choice after an app has granted `purposes` for its visitor.

    A live choice keeps its date: only an answer to a new question moves it. Where a granted purpose came
    after the version of the choice, the version rises, and vendors that came since stay refused, since
    nobody asked about them.
    """
    if consent is None:
        return Consent(
            decided_at=now,
            version=terms.registry.version,
            purposes=tuple(terms.by_consent.intersection(purposes)),
            id=new_id if terms.by_consent.intersection(purposes) else None,
            gpc=gpc,
        )
    uncovered = terms.uncovered_purposes(consent.version)
    version, refused_vendors = consent.version, set(consent.refused_vendors)
    granted = set(consent.purposes)
    if uncovered.intersection(purposes):
        version = terms.registry.version
        refused_vendors |= terms.uncovered_vendors(consent.version)
        granted -= uncovered
    granted |= terms.by_consent.intersection(purposes)
    return replace(
        consent,
        version=max(version, consent.version),
        purposes=tuple(granted),
        refused_purposes=tuple(set(consent.refused_purposes).difference(purposes)),
        refused_vendors=tuple(refused_vendors),
        id=consent.id or (new_id if granted else None),
    )
