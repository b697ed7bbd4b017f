"""From what a visitor was offered and answered to a Consent.

Every answer restates everything that was offered, so what an answer leaves out is refused; only `add`, and a
grant by the site's own control, add to what stands.

A choice that grants nothing tells nobody apart: it is dated to the UTC day, has no id, and keeps only
refusals of what would be allowed without consent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from .compiled import NOTHING, CompiledRegistry, Uncovered
from .consent import NO_SIGNALS, Consent, Signals, utc_day
from .registry import CookieRule


class Choice(StrEnum):
    """The five things that a visitor can say."""

    ACCEPT_ALL = "accept-all"
    REJECT_ALL = "reject-all"
    SAVE = "save"
    WITHDRAW = "withdraw"
    ADD = "add"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor said. The maps from id to yes or no matter to `save`, and to `add` but for purposes.

    A vendor or cookie (by the name of its rule) that is not in its map follows its purpose; a purpose that
    needs consent and is not in its map is refused; one that needs none stays unless it is refused.
    """

    choice: Choice
    purposes: Mapping[str, bool] = {}
    vendors: Mapping[str, bool] = {}
    cookies: Mapping[str, bool] = {}


class Grants(NamedTuple):
    """What is added to a choice: purposes whole, vendors and cookies alone."""

    purposes: frozenset[str] = NOTHING
    vendors: frozenset[str] = NOTHING
    cookies: frozenset[str] = NOTHING


class Moment(NamedTuple):
    """When a choice is made, the preference signals that are present, and a fresh random id."""

    now: datetime
    new_id: str
    signals: Signals = NO_SIGNALS


def decide(
    answer: Answer, compiled: CompiledRegistry, moment: Moment, before: Consent | None = None
) -> Consent:
    """The choice that an answer makes; `before` is what stands, to which `add` adds."""
    match answer.choice:
        case Choice.ACCEPT_ALL:
            made = _granting(compiled, moment, purposes=compiled.by_consent)
        case Choice.SAVE:
            made = _saved(answer, compiled, moment, before)
        case Choice.ADD:
            return with_grants(before, _named(answer), compiled, moment)
        case _:
            made = refusal(compiled, moment.now)
    return made if made.grants else as_refusal(made, compiled)


def adds(answer: Answer, compiled: CompiledRegistry, moment: Moment, before: Consent | None) -> bool:
    """Whether an answer to `add` adds anything to what stands: else there is no choice to make."""
    return grants_more(before, _named(answer), compiled, moment)


def _named(answer: Answer) -> Grants:
    return Grants(vendors=_yes(answer.vendors), cookies=_yes(answer.cookies))


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
        gpc=moment.signals.gpc,
        dnt=moment.signals.dnt,
    )


def _saved(answer: Answer, compiled: CompiledRegistry, moment: Moment, before: Consent | None) -> Consent:
    granted = _yes(answer.purposes) & compiled.by_consent
    refused_vendors = _no(answer.vendors) & compiled.registry.vendors.keys()
    alone = _alone(answer, compiled, granted, refused_vendors)
    made = replace(
        _granting(compiled, moment, purposes=granted),
        granted_vendors=tuple(alone.vendors),
        granted_cookies=tuple(alone.cookies),
        refused_purposes=tuple(_no(answer.purposes) & compiled.by_objection),
        refused_vendors=tuple(refused_vendors),
        refused_cookies=tuple(_no(answer.cookies) & compiled.optional_cookies.keys()),
    )
    if not made.grants:
        return made
    # The choice overrules the signals, but silence is no yes to what a signal refuses without it.
    overruled = moment.signals.without(before.signals if before else NO_SIGNALS)
    unsaid = compiled.by_objection & compiled.refused_by_signals(overruled) - _yes(answer.purposes)
    return replace(made, refused_purposes=(*made.refused_purposes, *unsaid))


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
    near = compiled.purposes_near_vendor.get(vendor, NOTHING)
    return not compiled.by_consent.intersection(near).issubset(granted)


def _yes(answers: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(id for id, yes in answers.items() if yes)


def _no(answers: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(id for id, yes in answers.items() if not yes)


def with_grants(before: Consent | None, added: Grants, compiled: CompiledRegistry, moment: Moment) -> Consent:
    """A choice with something added to it, by the placeholder's "always allow" or the site's own control.

    A live choice keeps its date: only an answer to everything that is offered moves it. Where nobody was
    asked, the rest stays "not asked". Whatever is allowed afterwards was allowed before, or is named.
    """
    base, new = _parts(before, added, compiled, moment)
    base = _covering(base, new, compiled)
    purposes = frozenset(base.purposes) | (new.purposes & compiled.by_consent)
    rules = compiled.optional_cookies
    # What was added without a signal is no yes in its presence.
    lost = compiled.concerned(base.signals.without(moment.signals), _purposes_of(new, compiled))
    made = replace(
        base,
        purposes=tuple(purposes),
        granted_vendors=(*base.granted_vendors, *(v for v in new.vendors if _needs(compiled, v, purposes))),
        granted_cookies=(
            *base.granted_cookies,
            *(c for c in new.cookies if rules[c].purpose in compiled.by_consent - purposes),
        ),
        refused_purposes=tuple(set(base.refused_purposes) - new.purposes),
        refused_vendors=tuple(set(base.refused_vendors) - new.vendors),
        refused_cookies=tuple(set(base.refused_cookies) - new.cookies),
        gpc=base.gpc and not lost.gpc,
        dnt=base.dnt and not lost.dnt,
    )
    if made.grants:
        return replace(made, id=base.id or moment.new_id)
    return replace(made, id=None, decided_at=utc_day(made.decided_at))


def grants_more(before: Consent | None, added: Grants, compiled: CompiledRegistry, moment: Moment) -> bool:
    """Whether something that is to be added to a choice is not in it already."""
    _, new = _parts(before, added, compiled, moment)
    return bool(new.purposes or new.vendors or new.cookies)


def _parts(
    before: Consent | None, added: Grants, compiled: CompiledRegistry, moment: Moment
) -> tuple[Consent, Grants]:
    """What stands as it can be added to, and what of the named is new to it."""
    begun = _begun(before, compiled, moment.now)
    addable = _Standing(begun, compiled).addable(added)
    base = _overruling(begun, addable, compiled, moment)
    return base, _Standing(base, compiled).new(addable)


def _begun(before: Consent | None, compiled: CompiledRegistry, now: datetime) -> Consent:
    """What stands; or that nobody was asked."""
    if before is None:
        return Consent(decided_at=now, version=compiled.registry.version, asked=False)
    # Refusals may be kept for longer than what is granted now could last.
    if now >= compiled.registry.consent.lifetime.after(before.decided_at):
        return replace(before.refusals, decided_at=now)
    return before if before.is_choice else replace(before, decided_at=now)


def _overruling(base: Consent, added: Grants, compiled: CompiledRegistry, moment: Moment) -> Consent:
    """What stands as a yes to something that signals refuse leaves it.

    The choice overrules them from now on. So it goes without what they refused of it until now: that was
    granted, or not objected to, without them.
    """
    present = compiled.honoured(moment.signals).without(base.signals)
    overruled = compiled.concerned(present, _purposes_of(added, compiled))
    if not any(overruled):
        return base
    refused = compiled.meant_by_signals(overruled)
    return replace(
        _without(base, compiled, refused),
        refused_purposes=(*base.refused_purposes, *(refused & compiled.by_objection)),
        gpc=base.gpc or overruled.gpc,
        dnt=base.dnt or overruled.dnt,
    )


def _covering(base: Consent, new: Grants, compiled: CompiledRegistry) -> Consent:
    """The choice at a version that covers what is new; what else came since stays refused."""
    uncovered = compiled.uncovered(base.version)
    vendors = new.vendors | {compiled.optional_cookies[name].vendor for name in new.cookies}
    if uncovered.vendors.isdisjoint(vendors) and uncovered.purposes.isdisjoint(_purposes_of(new, compiled)):
        return base
    return replace(
        _without(base, compiled, uncovered.purposes, uncovered.vendors),
        version=compiled.registry.version,
        # To refuse the vendor of a cookie that is new would refuse that cookie: `addable` saw to it that
        # nothing else of it opens.
        refused_vendors=(*base.refused_vendors, *(uncovered.vendors - vendors)),
    )


def _without(
    consent: Consent,
    compiled: CompiledRegistry,
    purposes: frozenset[str],
    vendors: frozenset[str] = NOTHING,
) -> Consent:
    """A choice without its grants under some purposes and of some vendors, and without unknown ids.

    A vendor granted alone that also serves other purposes keeps its cookies of those, one by one.
    """
    rules, near = compiled.optional_cookies, compiled.purposes_near_vendor
    known = near.keys() & consent.granted_vendors
    whole = {id for id in known if purposes.isdisjoint(near[id])}
    cookies = {
        rule.name
        for rule in rules.values()
        if rule.vendor in known - whole or rule.name in consent.granted_cookies
    }
    return replace(
        consent,
        purposes=tuple(compiled.by_consent.intersection(consent.purposes) - purposes),
        granted_vendors=tuple(whole - vendors),
        granted_cookies=tuple(
            name
            for name in cookies
            if rules[name].purpose in compiled.by_consent - purposes and rules[name].vendor not in vendors
        ),
    )


class _Standing(NamedTuple):
    """A choice that something is added to, as far as the registry's later versions leave it in force."""

    consent: Consent
    compiled: CompiledRegistry

    @property
    def _uncovered(self) -> Uncovered:
        return self.compiled.uncovered(self.consent.version)

    @property
    def _granted(self) -> frozenset[str]:
        return self.compiled.by_consent.intersection(self.consent.purposes) - self._uncovered.purposes

    def addable(self, added: Grants) -> Grants:
        """Those of the named that a yes can open: known, decided about, and not refused with their vendor."""
        compiled = self.compiled
        return Grants(
            purposes=added.purposes & (compiled.by_consent | compiled.by_objection),
            vendors=frozenset(
                id
                for id in added.vendors & compiled.registry.vendors.keys()
                if id in self.consent.refused_vendors or _needs(compiled, id, NOTHING)
            ),
            cookies=frozenset(
                name
                for name in added.cookies & compiled.optional_cookies.keys()
                if self._can_add_cookie(compiled.optional_cookies[name], added)
            ),
        )

    def _can_add_cookie(self, rule: CookieRule, added: Grants) -> bool:
        if rule.purpose not in self.compiled.by_consent and rule.name not in self.consent.refused_cookies:
            return False
        if rule.vendor is None or rule.vendor in added.vendors:
            return True
        if rule.vendor in self.consent.refused_vendors:
            return False
        return rule.vendor not in self._uncovered.vendors or self._is_closed(rule.vendor, added.purposes)

    def _is_closed(self, vendor: str, added: frozenset[str]) -> bool:
        """Whether purposes alone let in nothing of a vendor, so that it need not be refused."""
        return (self._granted | added).isdisjoint(self.compiled.purposes_near_vendor[vendor])

    def new(self, addable: Grants) -> Grants:
        """Those of the addable that the choice does not hold."""
        rules, granted = self.compiled.optional_cookies, self._granted
        purposes = (addable.purposes & self.compiled.by_consent) - granted
        purposes |= addable.purposes.intersection(self.consent.refused_purposes)
        return Grants(
            purposes=purposes,
            vendors=frozenset(id for id in addable.vendors if self._lacks_vendor(id, granted | purposes)),
            cookies=frozenset(
                name for name in addable.cookies if self._lacks_cookie(rules[name], granted | purposes)
            ),
        )

    def _lacks_vendor(self, id: str, granted: frozenset[str]) -> bool:
        if id in self.consent.refused_vendors or id in self._uncovered.vendors:
            return True
        near = self.compiled.purposes_near_vendor.get(id, NOTHING)
        alone = id in self.consent.granted_vendors and self._uncovered.purposes.isdisjoint(near)
        return not alone and _needs(self.compiled, id, granted)

    def _lacks_cookie(self, rule: CookieRule, granted: frozenset[str]) -> bool:
        consent, uncovered = self.consent, self._uncovered
        if rule.name in consent.refused_cookies or rule.vendor in uncovered.vendors:
            return True
        alone = rule.name in consent.granted_cookies or rule.vendor in consent.granted_vendors
        return rule.purpose not in granted and not (alone and rule.purpose not in uncovered.purposes)


def _purposes_of(added: Grants, compiled: CompiledRegistry) -> set[str]:
    """The purposes that something is added under."""
    purposes = {compiled.optional_cookies[name].purpose for name in added.cookies}
    return purposes.union(
        added.purposes, *(compiled.purposes_near_vendor.get(id, NOTHING) for id in added.vendors)
    )


def coarsened(consent: Consent, compiled: CompiledRegistry) -> Consent:
    """The choice without its lists of vendors and cookies, each purpose that a refusal touches refused whole.

    For a choice that is too long for a cookie: it may only lose permissions, never gain one.
    """
    rules = compiled.registry.cookies
    refused = set(consent.refused_cookies)
    touched = {p for vendor in consent.refused_vendors for p in compiled.purposes_of_vendor(vendor)}
    touched |= {r.purpose for r in rules if r.name in refused or r.vendor in consent.refused_vendors}
    # Where nobody was asked, a law model may open what is not refused by name.
    refusable = compiled.by_objection | (NOTHING if consent.asked else compiled.by_consent)
    coarse = replace(
        consent,
        purposes=tuple(compiled.by_consent.intersection(consent.purposes) - touched),
        granted_vendors=(),
        granted_cookies=(),
        refused_purposes=tuple(refusable.intersection({*consent.refused_purposes, *touched})),
        refused_vendors=(),
        refused_cookies=(),
    )
    return coarse if coarse.grants else as_refusal(coarse, compiled)
