"""A visitor's choice, and what it allows at a given moment.

Doubt means no: whatever a choice does not cover is refused, and no refusal ever expires into a yes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, reduce
from typing import NamedTuple

from .registry import Basis, CookieRule, Registry, Vendor

SKEW = timedelta(seconds=60)
"""How far in the future a choice may be dated, for servers whose clocks differ."""
UNDECIDED = 0
"""The `version` of a Consent that is no choice: it tells only since when a visitor is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What one visitor decided at one moment.

    `decided_at` is aware, kept in UTC; `version` is that of the registry that was shown. `purposes` are
    those granted; `refused_purposes` are objections to what needs no consent; vendors and cookies (by the
    name of their rule) are listed where they depart from their purpose. `id` names the record of the
    choice, `measured_since` is when exempt measurement began, `gpc` says that the choice was made with a
    Global Privacy Control signal present. The sequences are kept sorted and without repetition.
    """

    decided_at: datetime
    version: int
    purposes: tuple[str, ...] = ()
    refused_purposes: tuple[str, ...] = ()
    refused_vendors: tuple[str, ...] = ()
    refused_cookies: tuple[str, ...] = ()
    id: str | None = None
    measured_since: datetime | None = None
    gpc: bool = False

    def __post_init__(self) -> None:
        for name in ("purposes", "refused_purposes", "refused_vendors", "refused_cookies"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        for name in ("decided_at", "measured_since"):
            moment = getattr(self, name)
            if moment is not None:
                if moment.tzinfo is None:
                    raise ValueError(f"{name} must be aware")
                object.__setattr__(self, name, moment.astimezone(UTC))


def measured_only(now: datetime) -> Consent:
    """No choice, but the note that exempt measurement of this visitor began today.

    Cut to the day, and the same for all who came that day: it tells nobody apart.
    """
    today = measuring_day(now)
    return Consent(decided_at=today, version=UNDECIDED, measured_since=today)


def measuring_day(now: datetime) -> datetime:
    """When measurement that begins now is said to have begun."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


class Signals(NamedTuple):
    """The preference signals of a request: `Sec-GPC: 1` and `DNT: 1`, each present or not."""

    gpc: bool = False
    dnt: bool = False


NO_SIGNALS = Signals()


def most_restrictive(consents: Iterable[Consent]) -> Consent:
    """One choice that allows only what each of several allows; at least one is needed."""
    return reduce(_narrower, consents)


def _narrower(one: Consent, other: Consent) -> Consent:
    if one == other:
        return one
    since = [moment for moment in (one.measured_since, other.measured_since) if moment]
    return Consent(
        decided_at=min(one.decided_at, other.decided_at),
        version=min(one.version, other.version),
        purposes=tuple(set(one.purposes) & set(other.purposes)),
        refused_purposes=one.refused_purposes + other.refused_purposes,
        refused_vendors=one.refused_vendors + other.refused_vendors,
        refused_cookies=one.refused_cookies + other.refused_cookies,
        id=one.id if one.id == other.id else None,
        measured_since=min(since, default=None),
        gpc=one.gpc and other.gpc,
    )


class Terms:
    """The rules by which choices are judged, computed once from a registry."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.lifetime = registry.consent.lifetime
        self.refusal_lifetime = registry.consent.refusal_lifetime
        self.max_lifetime = registry.consent.max_lifetime
        self.essential = self._with_basis(Basis.ESSENTIAL)
        self.by_consent = self._with_basis(Basis.CONSENT)
        self.by_objection = self._with_basis(Basis.OBJECTION)
        self.sale = frozenset(id for id, purpose in registry.purposes.items() if purpose.sale)
        self.has_options = bool(self.by_consent or self.by_objection)
        self.open_unasked = self.essential | self.by_objection
        # A registry holds thousands of vendors at most, but a request must not walk them.
        self.uncovered_purposes = lru_cache(64)(self._uncovered_purposes)
        self.uncovered_vendors = lru_cache(64)(self._uncovered_vendors)
        self._steady = lru_cache(4096)(self._steady_standing)
        self.allowed_vendors = lru_cache(64)(self._allowed_vendors)
        self._unasked = lru_cache(4)(self._unasked_standing)

    def _with_basis(self, basis: Basis) -> frozenset[str]:
        return frozenset(id for id, purpose in self.registry.purposes.items() if purpose.basis is basis)

    def _uncovered_purposes(self, version: int) -> frozenset[str]:
        """Purposes that need consent and came after the registry of this version."""
        return frozenset(id for id in self.by_consent if self.registry.purposes[id].since > version)

    def _uncovered_vendors(self, version: int) -> frozenset[str]:
        """Vendors that need consent and came after the registry of this version."""
        vendors = self.registry.vendors.values()
        return frozenset(
            v.id for v in vendors if v.since > version and self.by_consent.intersection(v.purposes)
        )

    def _allowed_vendors(
        self, open_purposes: frozenset[str], refused: frozenset[str], uncovered: frozenset[str]
    ) -> frozenset[str]:
        """Vendors all of whose purposes are open, and that are not refused unless they are essential."""
        return frozenset(
            id
            for id, vendor in self.registry.vendors.items()
            if open_purposes.issuperset(vendor.purposes)
            and (self.essential.issuperset(vendor.purposes) or not (id in refused or id in uncovered))
        )

    def refused_by_signal(self, signals: Signals) -> frozenset[str]:
        """The purposes that the signals of a request refuse, as the registry honours them.

        Global Privacy Control speaks of sale and sharing; Do Not Track, where a site honours it, is also
        an objection to measurement that needs no consent. Neither ever grants anything.
        """
        settings = self.registry.consent
        gpc = signals.gpc and settings.gpc == "refuse"
        dnt = signals.dnt and settings.dnt == "refuse"
        refused = (self.sale if gpc or dnt else frozenset()) | (self.by_objection if dnt else frozenset())
        return refused - self.essential

    def objects(self, consent: Consent) -> bool:
        """Whether the choice refuses something that would be allowed without a choice."""
        if self.by_objection.intersection(consent.refused_purposes):
            return True
        vendors = (self.registry.vendors.get(id) for id in consent.refused_vendors)
        if any(vendor and self.by_objection.intersection(vendor.purposes) for vendor in vendors):
            return True
        refused = set(consent.refused_cookies)
        return bool(refused) and any(
            rule.name in refused and rule.purpose in self.by_objection for rule in self.registry.cookies
        )

    def grants_end(self, consent: Consent) -> datetime:
        """When what the choice grants ends."""
        return self.lifetime.after(consent.decided_at)

    def token_end(self, consent: Consent) -> datetime:
        """When the choice is forgotten: refusals and objections are kept as long as the cap allows."""
        if consent.purposes and not self.objects(consent):
            return self.grants_end(consent)
        return self.max_lifetime.after(consent.decided_at)

    def asks_from(self, consent: Consent) -> datetime:
        """From when on the visitor is asked again, registry changes aside."""
        return (self.lifetime if consent.purposes else self.refusal_lifetime).after(consent.decided_at)

    def appraise(self, consent: Consent) -> "Appraisal":
        """All about a choice that does not depend on the time or the request."""
        uncovered = self.uncovered_purposes(consent.version)
        kept = self.essential | self.by_objection.difference(consent.refused_purposes)
        granted = self.by_consent.intersection(consent.purposes) - uncovered
        uncovered_vendors = self.uncovered_vendors(consent.version)
        ends = self.grants_end(consent), self.token_end(consent), self.asks_from(consent)
        return Appraisal(
            consent=consent,
            open_purposes=kept | granted,
            open_after_end=kept,
            refused_vendors=frozenset(consent.refused_vendors),
            uncovered_vendors=uncovered_vendors,
            incomplete=bool(uncovered or uncovered_vendors),
            grants_end=ends[0],
            token_end=ends[1],
            asks_from=ends[2],
            steady_until=self._steady_until(consent, min(ends)),
        )

    def _steady_until(self, consent: Consent, end: datetime) -> datetime:
        """How long a choice means the same; never, if it is none."""
        since = consent.measured_since
        if consent.version == UNDECIDED or (since and since > consent.decided_at):
            return consent.decided_at
        return min(end, self.measuring_ends(since)) if since else end

    def standing(self, choices: Sequence["Appraisal | None"], now: datetime, signals: Signals) -> "Standing":
        """What the choices on one request are worth together: the most restrictive reading of them all.

        None stands for one that does not verify; a request without any has been asked nothing yet.
        """
        if not choices:
            return self._unasked(signals)
        only = choices[0] if len(choices) == 1 else None
        if only is not None and only.consent.decided_at <= now < only.steady_until:
            return self._steady(only, signals)
        live = [choice for choice in choices if choice is not None and choice.holds(now)]
        made = [choice for choice in live if choice.consent.version != UNDECIDED]
        choice = made[0] if made else None
        if len(made) > 1:
            choice = self.appraise(most_restrictive(choice.consent for choice in made))
        since = self._measured_since(live, now) if live else None
        refused = self._refused_besides(choice, signals)
        return Standing(self, choice, now, refused, since, doubtful=len(live) < len(choices))

    def _refused_besides(self, choice: "Appraisal | None", signals: Signals) -> frozenset[str]:
        """What the signals refuse, unless the choice was made with the signal present."""
        if signals == NO_SIGNALS or (choice and choice.consent.gpc):
            return frozenset()
        return self.refused_by_signal(signals)

    def _measured_since(self, live: Sequence["Appraisal"], now: datetime) -> datetime | None:
        """When the measurement that still goes on began; None if none does.

        Its period is not prolonged by visits. After its end everything of it is deleted, and another
        period may begin, which knows nothing of the first.
        """
        known = [choice.consent.measured_since for choice in live if choice.consent.measured_since]
        since = min(known, default=None)
        if since is None or since > now + SKEW or now >= self.measuring_ends(since):
            return None
        return since

    def measuring_ends(self, since: datetime) -> datetime:
        """When exempt measurement that began at `since` ends."""
        return self.max_lifetime.after(since)

    def _steady_standing(self, choice: "Appraisal", signals: Signals) -> "Standing":
        consent, refused = choice.consent, self._refused_besides(choice, signals)
        return Standing(self, choice, consent.decided_at, refused, consent.measured_since, doubtful=False)

    def _unasked_standing(self, signals: Signals) -> "Standing":
        # Where nothing was chosen, nothing depends on the time.
        ever = datetime.max.replace(tzinfo=UTC)
        return Standing(self, None, ever, self.refused_by_signal(signals), None, doubtful=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Appraisal:
    """A choice with all that follows from it whatever the time: computed once per token, then remembered."""

    consent: Consent
    open_purposes: frozenset[str]
    open_after_end: frozenset[str]
    """What stays allowed when the grants have ended: all that needs none and is not objected to."""
    refused_vendors: frozenset[str]
    uncovered_vendors: frozenset[str]
    incomplete: bool
    """Whether purposes or vendors came since that the visitor was never asked about."""
    grants_end: datetime
    token_end: datetime
    asks_from: datetime
    steady_until: datetime
    """Until when the standing is the same as on the day of the choice."""

    def holds(self, now: datetime) -> bool:
        """Whether the choice says anything at `now`: neither from the future nor forgotten."""
        return self.consent.decided_at <= now + SKEW and now < self.token_end


class Standing:
    """What a visitor's choice is worth at one moment: a frozen value that answers "is this allowed?"."""

    __slots__ = (
        "_choice",
        "_terms",
        "ask",
        "consent",
        "decided",
        "doubtful",
        "ends",
        "measured_since",
        "open_purposes",
    )

    consent: Consent | None
    """The choice, None if there is none."""
    decided: bool
    """Whether the choice still stands as an answer: false before it and after its end."""
    ask: bool
    """Whether the visitor is to be asked (again)."""
    ends: datetime | None
    """When what was granted ends; None without a choice."""
    open_purposes: frozenset[str]
    measured_since: datetime | None
    """When the exempt measurement that goes on began; None if none does, or if nobody knows."""
    doubtful: bool
    """Whether something on the request looked like a choice and was none."""

    def __init__(
        self,
        terms: Terms,
        choice: Appraisal | None,
        now: datetime,
        refused: frozenset[str],
        measured_since: datetime | None,
        *,
        doubtful: bool,
    ) -> None:
        self._terms, self._choice = terms, choice
        self.measured_since, self.doubtful = measured_since, doubtful
        if choice is None:
            self.consent, self.ends, self.decided = None, None, False
            self.ask = terms.has_options
            self.open_purposes = terms.open_unasked - refused
            return
        live = now < choice.grants_end and not doubtful
        self.consent, self.ends = choice.consent, choice.grants_end
        self.decided = not doubtful and (live or not choice.consent.purposes)
        self.ask = terms.has_options and (doubtful or choice.incomplete or now >= choice.asks_from)
        self.open_purposes = (choice.open_purposes if live else choice.open_after_end) - refused

    def allows(self, purpose: str) -> bool:
        """Whether cookies of this purpose may be stored; an unknown purpose may not."""
        return purpose in self.open_purposes

    def allows_rule(self, rule: CookieRule) -> bool:
        """Whether the cookies of this rule may be stored."""
        purpose, choice, terms = rule.purpose, self._choice, self._terms
        if purpose in terms.essential:
            return True
        if purpose not in self.open_purposes:
            return False
        if choice is None:
            return True
        if rule.vendor in choice.refused_vendors or rule.name in choice.consent.refused_cookies:
            return False
        return rule.vendor not in choice.uncovered_vendors or purpose in terms.by_objection

    def allowed_vendors(self) -> frozenset[str]:
        """Vendors whose hosts may be reached: for all of their purposes, since a host cannot be half open."""
        choice, nothing = self._choice, frozenset[str]()
        refused = choice.refused_vendors if choice else nothing
        return self._terms.allowed_vendors(
            self.open_purposes, refused, choice.uncovered_vendors if choice else nothing
        )

    def allows_vendor(self, id: str) -> bool:
        """Whether a vendor's host may be reached; an unknown vendor's may not."""
        return id in self.allowed_vendors()


def coarsened(consent: Consent, registry: Registry) -> Consent:
    """The choice without its lists of vendors and cookies, each purpose that they touch refused as a whole.

    For a choice that is too long for a cookie: it may only lose permissions, never gain one.
    """
    vendors: list[Vendor] = [v for id, v in registry.vendors.items() if id in set(consent.refused_vendors)]
    touched = {purpose for vendor in vendors for purpose in vendor.purposes}
    refused = set(consent.refused_cookies)
    touched |= {
        rule.purpose
        for rule in registry.cookies
        if rule.name in refused or rule.vendor in consent.refused_vendors
    }
    known = touched.intersection(registry.purposes)
    objections = {id for id in known if registry.purposes[id].basis is Basis.OBJECTION}
    return replace(
        consent,
        purposes=tuple(set(consent.purposes).intersection(registry.purposes) - touched),
        refused_purposes=tuple((set(consent.refused_purposes) & set(registry.purposes)) | objections),
        refused_vendors=(),
        refused_cookies=(),
    )
