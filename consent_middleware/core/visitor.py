"""One visitor at one moment: what the choices on a request are worth together, and how long that holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .compiled import CompiledRegistry
from .consent import NO_SIGNALS, SKEW, Consent, Signals, most_restrictive
from .permissions import Grounds, Permissions
from .registry import LawModel

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)

PermissionsOn = Callable[[Grounds], Permissions]
"""Gives the permissions that follow from some grounds, remembered or not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VisitorView:
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Circumstances:
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
    held = [choice for choice in choices if choice is not None and compiled.is_kept(choice, around.now)]
    made = [choice for choice in held if choice.is_choice]
    doubtful = len(held) < len(choices)
    measured_since = _measured_since(compiled, held, around.now)
    if made:
        choice = most_restrictive(made)
        return _view_of_choice(compiled, choice, around, permissions_for, measured_since, doubtful=doubtful)
    # Something that looks like a choice and is none closes what the law model would leave open.
    grounds = Grounds(
        refused_by_signals=compiled.refused_by_signals(around.signals),
        by_default=around.model != "opt-in" and not doubtful,
    )
    until = compiled.measuring_ends(measured_since) if measured_since else _NEVER
    return VisitorView(
        permissions=permissions_for(grounds),
        ask=compiled.has_options and around.model != "none",
        measured_since=measured_since,
        doubtful=doubtful,
        # Whether a choice of the future or of long ago is still none depends on the moment.
        until=around.now if choices and not measured_since else until,
    )


def _view_of_choice(
    compiled: CompiledRegistry,
    choice: Consent,
    around: Circumstances,
    permissions_for: PermissionsOn,
    measured_since: datetime | None,
    *,
    doubtful: bool,
) -> VisitorView:
    ends, asks_from = compiled.ends(choice), compiled.asks_from(choice)
    live = around.now < ends and not doubtful
    by_default = around.model != "opt-in" and not doubtful and not choice.asked
    decided = live and choice.asked
    # Who agreed with a signal present knew what it was; what the law model opens was agreed to by nobody.
    signals = around.signals if by_default else around.signals.without(choice.signals)
    refused = compiled.refused_by_signals(signals)
    grounds = Grounds.of(choice, refused, live=live, by_default=by_default, decided=decided)
    due = not decided or around.now >= asks_from or any(compiled.uncovered(choice.version))
    changes = [ends, asks_from, *([compiled.measuring_ends(measured_since)] if measured_since else [])]
    return VisitorView(
        permissions=permissions_for(grounds),
        consent=choice,
        live_consent=choice if live else None,
        decided=decided,
        ask=due and compiled.has_options and around.model != "none",
        ends=None if by_default else ends,
        measured_since=measured_since,
        doubtful=doubtful,
        since=choice.decided_at - SKEW,
        until=min((change for change in changes if change > around.now), default=around.now),
    )


def _measured_since(compiled: CompiledRegistry, held: Sequence[Consent], now: datetime) -> datetime | None:
    """When the measurement that still goes on began; None if none does.

    Its period is not prolonged by visits. After its end everything of it is deleted, and another period may
    begin, which knows nothing of the first.
    """
    noted = [choice.measured_since for choice in held if choice.measured_since]
    since = min((one for one in noted if now < compiled.measuring_ends(one)), default=None)
    return since if since is not None and since <= now + SKEW else None
