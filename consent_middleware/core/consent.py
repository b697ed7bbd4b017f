"""What one visitor chose, and how several choices on one request are read together.

Doubt means no: what a choice does not cover is refused, and no refusal expires into a yes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple

SKEW = timedelta(seconds=60)
"""How far in the future a choice may be dated, for servers whose clocks differ."""

_LISTS = (
    "purposes",
    "granted_vendors",
    "granted_cookies",
    "refused_purposes",
    "refused_vendors",
    "refused_cookies",
)


class Signals(NamedTuple):
    """The preference signals of a request: `Sec-GPC: 1` and `DNT: 1`, each present or not."""

    gpc: bool = False
    dnt: bool = False

    def without(self, others: "Signals") -> "Signals":
        """Those present here that are not among `others`."""
        if self is NO_SIGNALS or others is NO_SIGNALS:
            return self
        return Signals(self.gpc and not others.gpc, self.dnt and not others.dnt)


NO_SIGNALS = Signals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What one visitor decided at one moment.

    `decided_at` is aware and kept in UTC; `version` is that of the registry that was shown. `purposes` were
    granted whole. `granted_vendors` and `granted_cookies` (by the name of their rule) were granted alone:
    they open nothing else of their purpose. `refused_purposes` are objections to what needs no consent;
    `refused_vendors` and `refused_cookies` are refused though their purpose is open. `id` names the record
    of a choice that granted something. `measured_since` is when exempt measurement began. `gpc` and
    `dnt` say that the choice was made with a Global Privacy Control or Do Not Track signal present. `asked`
    is false where the visitor was not asked about the rest: the site's own control granted something, or
    measurement began.

    The sequences are kept sorted and without repetition.
    """

    decided_at: datetime
    version: int
    purposes: tuple[str, ...] = ()
    granted_vendors: tuple[str, ...] = ()
    granted_cookies: tuple[str, ...] = ()
    refused_purposes: tuple[str, ...] = ()
    refused_vendors: tuple[str, ...] = ()
    refused_cookies: tuple[str, ...] = ()
    id: str | None = None
    measured_since: datetime | None = None
    gpc: bool = False
    asked: bool = True
    dnt: bool = False

    def __post_init__(self) -> None:
        for name in _LISTS:
            given = getattr(self, name)
            if type(given) is not tuple or len(given) > 1:
                object.__setattr__(self, name, tuple(sorted(set(given))))
        if self.decided_at.tzinfo is not UTC or (
            self.measured_since and self.measured_since.tzinfo is not UTC
        ):
            self._keep_in_utc()

    def __repr__(self) -> str:
        """What was chosen; neither its id nor the moment, which is as good as one, but the day."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "id"}
        said = [f"{name}={_told(told[name])}" for name in told if told[name] != _DEFAULTS[name]]
        return f"Consent({', '.join(said)})"

    def _keep_in_utc(self) -> None:
        for name in ("decided_at", "measured_since"):
            moment = getattr(self, name)
            if moment is not None:
                if moment.tzinfo is None:
                    raise ValueError(f"{name} must be aware")
                object.__setattr__(self, name, moment.astimezone(UTC))

    @property
    def grants(self) -> bool:
        """Whether the choice grants anything that needs consent."""
        return bool(self.purposes or self.granted_vendors or self.granted_cookies)

    @property
    def refusals(self) -> "Consent":
        """What is left of the choice when nothing of it is granted any more."""
        return replace(
            self, purposes=(), granted_vendors=(), granted_cookies=(), id=None, gpc=False, dnt=False
        )

    @property
    def signals(self) -> Signals:
        """The signals in whose presence the choice was made, which it therefore overrules."""
        return Signals(self.gpc, self.dnt) if self.gpc or self.dnt else NO_SIGNALS

    @property
    def is_choice(self) -> bool:
        """Whether the visitor or the site's own control granted or refused anything, or overruled a signal.

        Else only measurement began.
        """
        return self.asked or any(self.signals) or any(getattr(self, name) for name in _LISTS)


_DEFAULTS = {one.name: one.default for one in fields(Consent)}


def _told(value: object) -> str:
    return value.date().isoformat() if isinstance(value, datetime) else repr(value)


_PUT = tuple(getattr(Consent, one.name).__set__ for one in fields(Consent))


def restored(*values: Any) -> Consent:
    """A Consent with these values for its fields, in their order: those that one had when it was signed.

    They are sorted, and in UTC. To look again would take as long as to verify the signature.
    """
    consent: Consent = object.__new__(Consent)
    for put, value in zip(_PUT, values, strict=True):
        put(consent, value)
    return consent


def utc_day(now: datetime) -> datetime:
    """The start of the UTC day of `now`: what a date is cut to where it must not tell visitors apart."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def measured(chosen: Consent | None, now: datetime, version: int) -> Consent:
    """A choice, or none, with the note that exempt measurement of this visitor began today."""
    today = utc_day(now)
    if chosen is not None:
        return replace(chosen, measured_since=today)
    return Consent(decided_at=today, version=version, measured_since=today, asked=False)


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
        purposes=_both(one.purposes, other.purposes),
        granted_vendors=_both(one.granted_vendors, other.granted_vendors),
        granted_cookies=_both(one.granted_cookies, other.granted_cookies),
        refused_purposes=one.refused_purposes + other.refused_purposes,
        refused_vendors=one.refused_vendors + other.refused_vendors,
        refused_cookies=one.refused_cookies + other.refused_cookies,
        id=one.id if one.id == other.id else None,
        measured_since=min(since, default=None),
        gpc=one.gpc and other.gpc,
        dnt=one.dnt and other.dnt,
        # A refusal beside a grant of the site's own control: the visitor did answer.
        asked=one.asked or other.asked,
    )


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(set(one) & set(other))
