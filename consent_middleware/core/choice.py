"""From what a visitor was offered and answered to a Consent.

Every answer restates everything that was offered, so what an answer leaves out is refused; only `add`, and a
grant by the site's own control, add to what stands.

A choice that grants nothing tells nobody apart: it is dated to the UTC day, has no id, and keeps only
refusals of what would be allowed without consent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from .compiled import NOTHING, CompiledRegistry
from .consent import Consent, utc_day


class Choice(StrEnum):
    """The five things that a visitor can say."""

    ACCEPT_ALL = "accept-all"
    REJECT_ALL = "reject-all"
    SAVE = "save"
    WITHDRAW = "withdraw"
    ADD = "add"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a visitor said. The maps from id to yes or no matter to `save`, and to `add` but for purposes.

    A vendor or cookie (by the name of its rule) that is not in its map follows its purpose; a purpose that
    needs consent and is not in its map is refused; one that needs none stays unless it is refused.
    """

    choice: Choice
    purposes: Mapping[str, bool] = field(default_factory=dict)
    vendors: Mapping[str, bool] = field(default_factory=dict)
    cookies: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What is added to a choice: purposes whole, vendors and cookies alone."""

    purposes: frozenset[str] = NOTHING
    vendors: frozenset[str] = NOTHING
    cookies: frozenset[str] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a choice is made, whether the Global Privacy Control signal is present, and a fresh random id."""

    now: datetime
    new_id: str
    gpc: bool = False


def decide(
    answer: Answer, compiled: CompiledRegistry, moment: Moment, before: Consent | None = None
) -> Consent:
    """The choice that an answer makes; `before` is what stands, to which `add` adds."""
    match answer.choice:
        case Choice.ACCEPT_ALL:
            made = _granting(compiled, moment, purposes=compiled.by_consent)
        case Choice.SAVE:
            made = _saved(answer, compiled, moment)
        case Choice.ADD:
            added = Grants(vendors=_yes(answer.vendors), cookies=_yes(answer.cookies))
            return with_grants(before, added, compiled, moment)
        case _:
            made = refusal(compiled, moment.now)
    return made if made.grants else as_refusal(made, compiled)


def adds(answer: Answer, compiled: CompiledRegistry, moment: Moment, before: Consent | None) -> bool:
    """Whether an answer to `add` adds anything to what stands: else there is no choice to make."""
    nothing = replace(answer, vendors={}, cookies={})
    return decide(answer, compiled, moment, before) != decide(nothing, compiled, moment, before)


def refusal(compiled: CompiledRegistry, now: datetime) -> Consent:
    """Everything refused: what reject-all and a withdrawal leave."""
    return Consent(
        decided_at=utc_day(now),
        version=compiled.registry.version,
        refused_purposes=tuple(compiled.by_objection),
    )


def as_refusal(made: Consent, compiled: CompiledRegistry) -> Consent:
    """A choice that grants nothing, cut to what has an effect and is shared by all who refuse alike."""
    purposes, rules = compiled.purposes_of_vendor, compiled.optional_cookies
    objecting = compiled.by_objection
    return Consent(
        decided_at=utc_day(made.decided_at),
        version=made.version,
        refused_purposes=tuple(objecting.intersection(made.refused_purposes)),
        refused_vendors=tuple(v for v in made.refused_vendors if not objecting.isdisjoint(purposes(v))),
        refused_cookies=tuple(c for c in made.refused_cookies if rules[c].purpose in objecting),
    )


def _granting(compiled: CompiledRegistry, moment: Moment, *, purposes: Iterable[str]) -> Consent:
    return Consent(
        decided_at=moment.now,
        version=compiled.registry.version,
        purposes=tuple(purposes),
        id=moment.new_id,
        gpc=moment.gpc,
    )


def _saved(answer: Answer, compiled: CompiledRegistry, moment: Moment) -> Consent:
    granted = _yes(answer.purposes) & compiled.by_consent
    refused_vendors = _no(answer.vendors) & compiled.registry.vendors.keys()
    alone = _alone(answer, compiled, granted, refused_vendors)
    return replace(
        _granting(compiled, moment, purposes=granted),
        granted_vendors=tuple(alone.vendors),
        granted_cookies=tuple(alone.cookies),
        refused_purposes=tuple(_no(answer.purposes) & compiled.by_objection),
        refused_vendors=tuple(refused_vendors),
        refused_cookies=tuple(_no(answer.cookies) & compiled.optional_cookies.keys()),
    )


def _alone(
    answer: Answer, compiled: CompiledRegistry, granted: frozenset[str], refused_vendors: frozenset[str]
) -> Grants:
    """The vendors and cookies that are granted without their purpose."""
    vendors = frozenset(id for id in _yes(answer.vendors) if _needs(compiled, id, granted))
    rules = [
        compiled.optional_cookies[name] for name in _yes(answer.cookies) & compiled.optional_cookies.keys()
    ]
    closed = compiled.by_consent - granted
    cookies = [rule.name for rule in rules if rule.purpose in closed and rule.vendor not in refused_vendors]
    return Grants(vendors=vendors, cookies=frozenset(cookies))


def _needs(compiled: CompiledRegistry, vendor: str, granted: Iterable[str]) -> bool:
    """Whether a yes to a vendor says more than a yes to these purposes."""
    return bool(compiled.by_consent.intersection(compiled.purposes_of_vendor(vendor)).difference(granted))


def _yes(answers: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(id for id, yes in answers.items() if yes)


def _no(answers: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(id for id, yes in answers.items() if not yes)


def with_grants(before: Consent | None, added: Grants, compiled: CompiledRegistry, moment: Moment) -> Consent:
    """A choice with something added to it, by the placeholder's "always allow" or the site's own control.

    A live choice keeps its date: only an answer to everything that is offered moves it. Where nobody was
    asked, the rest stays "not asked".
    """
    base = _covering(_base(before, compiled, moment), added, compiled)
    # What was added without the signal is no yes in its presence.
    gpc = base.gpc and (moment.gpc or compiled.sale.isdisjoint(_purposes_of(added, compiled)))
    purposes = frozenset(base.purposes) | (added.purposes & compiled.by_consent)
    optional, closed = compiled.optional_cookies, compiled.by_consent - purposes
    cookies = [name for name in added.cookies if name in optional and optional[name].purpose in closed]
    made = replace(
        base,
        purposes=tuple(purposes),
        granted_vendors=(*base.granted_vendors, *(v for v in added.vendors if _needs(compiled, v, purposes))),
        granted_cookies=(*base.granted_cookies, *cookies),
        refused_purposes=tuple(set(base.refused_purposes) - added.purposes),
        refused_vendors=tuple(set(base.refused_vendors) - added.vendors),
        refused_cookies=tuple(set(base.refused_cookies) - added.cookies),
        gpc=gpc,
    )
    return replace(made, id=base.id or moment.new_id) if made.grants else replace(made, id=None)


def _base(before: Consent | None, compiled: CompiledRegistry, moment: Moment) -> Consent:
    """What is added to: what stands, less what a signal refuses; or that nobody was asked."""
    if before is None:
        version = compiled.registry.version
        return Consent(decided_at=moment.now, version=version, gpc=moment.gpc, asked=False)
    base = before if before.gpc or not moment.gpc else replace(_without_sale(before, compiled), gpc=True)
    # Refusals may be kept for longer than what is granted now could last.
    over = moment.now >= compiled.registry.consent.lifetime.after(base.decided_at)
    return replace(base, decided_at=moment.now) if over or not base.is_choice else base


def _without_sale(consent: Consent, compiled: CompiledRegistry) -> Consent:
    """A choice that was made without the signal, as the signal leaves it."""
    sale, purposes, rules = compiled.sale, compiled.purposes_of_vendor, compiled.optional_cookies
    return replace(
        consent,
        purposes=tuple(set(consent.purposes) - sale),
        granted_vendors=tuple(v for v in consent.granted_vendors if sale.isdisjoint(purposes(v))),
        granted_cookies=tuple(
            c for c in consent.granted_cookies if c in rules and rules[c].purpose not in sale
        ),
    )


def _covering(base: Consent, added: Grants, compiled: CompiledRegistry) -> Consent:
    """The choice at a version that covers what is added; what else came since stays refused."""
    uncovered = compiled.uncovered(base.version)
    rules = [compiled.optional_cookies[name] for name in added.cookies if name in compiled.optional_cookies]
    vendors = {*added.vendors, *(rule.vendor for rule in rules)}
    purposes = _purposes_of(added, compiled)
    if uncovered.vendors.isdisjoint(vendors) and uncovered.purposes.isdisjoint(purposes):
        return base
    return replace(
        base,
        version=compiled.registry.version,
        purposes=tuple(set(base.purposes) - uncovered.purposes),
        granted_vendors=tuple(set(base.granted_vendors) - uncovered.vendors),
        refused_vendors=(*base.refused_vendors, *(uncovered.vendors - added.vendors)),
    )


def _purposes_of(added: Grants, compiled: CompiledRegistry) -> set[str]:
    """The purposes that something is added under."""
    rules = [compiled.optional_cookies[name] for name in added.cookies if name in compiled.optional_cookies]
    purposes = {*added.purposes, *(rule.purpose for rule in rules)}
    return purposes | {id for vendor in added.vendors for id in compiled.purposes_of_vendor(vendor)}


def coarsened(consent: Consent, compiled: CompiledRegistry) -> Consent:
    """The choice without its lists of vendors and cookies, each purpose that a refusal touches refused whole.

    For a choice that is too long for a cookie: it may only lose permissions, never gain one.
    """
    rules = compiled.registry.cookies
    refused = set(consent.refused_cookies)
    touched = {p for vendor in consent.refused_vendors for p in compiled.purposes_of_vendor(vendor)}
    touched |= {r.purpose for r in rules if r.name in refused or r.vendor in consent.refused_vendors}
    coarse = replace(
        consent,
        purposes=tuple(compiled.by_consent.intersection(consent.purposes) - touched),
        granted_vendors=(),
        granted_cookies=(),
        refused_purposes=tuple(compiled.by_objection.intersection({*consent.refused_purposes, *touched})),
        refused_vendors=(),
        refused_cookies=(),
    )
    return coarse if coarse.grants else as_refusal(coarse, compiled)
