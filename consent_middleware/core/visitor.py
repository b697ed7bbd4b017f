"""One visitor at one moment: what the choices on a request are worth together, and how long that holds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from .compiled import CompiledRegistry
from .consent import NO_SIGNALS, SKEW, Consent, Signals, most_restrictive
from .permissions import Grounds, Permissions
from .registry import LawModel

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)

_Measuring = tuple[datetime | None, datetime]
_UNMEASURED: _Measuring = (None, _ALWAYS)

PermissionsOn = Callable[[Grounds], Permissions]
"""Gives the permissions that follow from some grounds, remembered or not."""


class VisitorView(NamedTuple):
    """What a visitor's choice is worth, from one moment until another."""

    permissions: Permissions
    consent: Consent | None = None
    """The choice, None if there is none."""
    decided: bool = False
    """Whether the choice still stands as an answer: false before it and after its end."""
    ask: bool = False
    """Whether the visitor is to be asked (again)."""
    ends: datetime | None = None
    """When what was granted ends; None where nothing is allowed by a choice."""
    measured_since: datetime | None = None
    """When the exempt measurement that goes on began; None if none does, or if nobody knows."""
    doubtful: bool = False
    """Whether something on the request looked like a choice and was none."""
    live_consent: Consent | None = None
    """The choice as far as it grants: it has not ended, and nothing is doubtful about it."""
    since: datetime = _ALWAYS
    until: datetime = _NEVER
    """From when, and until when, all of this holds."""

    @property
    def standing(self) -> Consent | None:
        """What something can be added to: of a choice that has ended, or is in doubt, its refusals alone.

        What a doubt closes stays refused: where nobody was asked, the law model would open it again.
        """
        if self.live_consent:
            return self.live_consent
        left = self.consent.refusals if self.consent else None
        if not self.doubtful or (left and left.asked):
            return left
        compiled = self.permissions.compiled
        left = left or Consent(decided_at=_ALWAYS, version=compiled.registry.version, asked=False)
        return replace(left, refused_purposes=(*left.refused_purposes, *compiled.by_consent))


class Circumstances(NamedTuple):
    """What a view depends on besides the choices: the law model, the signals, and the time."""

    now: datetime
    model: LawModel = "opt-in"
    signals: Signals = NO_SIGNALS


def view_visitor(
    compiled: CompiledRegistry,
    choices: Sequence[Consent | None],
    around: Circumstances,
    permissions_for: PermissionsOn,
) -> VisitorView:
    """What the choices on one request are worth together: the most restrictive reading of them all.

    None stands for one that does not verify. A request without any has been asked nothing yet.
    """
    now = around.now
    held = [choice for choice in choices if choice is not None and compiled.is_kept(choice, now)]
    made = [choice for choice in held if choice.is_choice]
    doubtful = len(held) < len(choices)
    measuring = _measuring(compiled, held, now)
    if made:
        choice = most_restrictive(made)
        return _view_of_choice(compiled, choice, around, permissions_for, measuring, doubtful=doubtful)
    if measuring is _UNMEASURED:
        # Whether a choice of the future or of long ago is still none depends on the moment.
        measuring = (None, now if choices else _NEVER)
    return _view_undecided(compiled, around, permissions_for, measuring, doubtful=doubtful)


def _view_undecided(
    compiled: CompiledRegistry,
    around: Circumstances,
    permissions_for: PermissionsOn,
    measuring: _Measuring,
    *,
    doubtful: bool,
) -> VisitorView:
    # Something that looks like a choice and is none closes what the law model would leave open.
    grounds = Grounds(
        refused_by_signals=compiled.refused_by_signals(around.signals),
        by_default=around.model != "opt-in" and not doubtful,
    )
    return VisitorView(
        permissions=permissions_for(grounds),
        ask=compiled.asks(around.model),
        measured_since=measuring[0],
        doubtful=doubtful,
        until=measuring[1],
    )


def _view_of_choice(
    compiled: CompiledRegistry,
    choice: Consent,
    around: Circumstances,
    permissions_for: PermissionsOn,
    measuring: _Measuring,
    *,
    doubtful: bool,
) -> VisitorView:
    now, model, signals = around
    measured_since, measured_until = measuring
    ends, asks_from = compiled.dates(choice)
    live = now < ends and not doubtful
    by_default = model != "opt-in" and not doubtful and not choice.asked
    decided = live and choice.asked
    # Who agreed with a signal present knew what it was; what the law model opens was agreed to by nobody.
    signals = signals if by_default else signals.without(choice.signals)
    refused = compiled.refused_by_signals(signals)
    grounds = Grounds.of(choice, refused, live=live, by_default=by_default, decided=decided)
    # By position, which takes half as long: in the order of the fields.
    return VisitorView(
        permissions_for(grounds),
        choice,
        decided,
        compiled.asks(model) and not (decided and _is_enough(compiled, choice, asks_from, now)),
        None if by_default else ends,
        measured_since,
        doubtful,
        choice if live else None,
        choice.decided_at - SKEW,
        _first_after(now, ends, asks_from, measured_until),
    )


def _is_enough(compiled: CompiledRegistry, choice: Consent, asks_from: datetime, now: datetime) -> bool:
    """Whether a choice that stands answers all that would be asked now."""
    return now < asks_from and not compiled.has_additions(choice.version)


def _first_after(now: datetime, *moments: datetime) -> datetime:
    return min([moment for moment in moments if moment > now], default=now)


def _measuring(compiled: CompiledRegistry, held: Sequence[Consent], now: datetime) -> _Measuring:
    """When the measurement that still goes on began, and when it ends; None and long ago if none does.

    Its period is not prolonged by visits. After its end everything of it is deleted, and another period may
    begin, which knows nothing of the first: with the next choice, or where none was made.
    """
    noted = [choice.measured_since for choice in held if choice.measured_since]
    if not noted:
        return _UNMEASURED
    periods = [(since, compiled.measuring_ends(since)) for since in noted]
    since, until = min([one for one in periods if now < one[1]], default=_UNMEASURED)
    return (since, until) if since is not None and since <= now + SKEW else _UNMEASURED
