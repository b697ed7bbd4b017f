"""What is remembered of visitors: one view for each verified token, permissions for all who chose alike.

Invalid tokens are not remembered, so strangers cannot fill the memory. Everything is bounded, and no key
holds a value of a cookie other than ours.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial

from .core.compiled import CompiledRegistry
from .core.consent import Consent, Signals
from .core.permissions import permissions_on
from .core.registry import LawModel
from .core.visitor import Circumstances, VisitorView, view_visitor
from .errors import BadTokenError

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_VISITORS = 4096
_MOST_KINDS_OF_CHOICE = 256


class _Known:
    """The choice of a verified token, and the view of its visitor that was worked out last."""

    __slots__ = ("choice", "view")

    def __init__(self, choice: Consent) -> None:
        self.choice = choice
        self.view: VisitorView | None = None


class Visitors:
    """Views of visitors, by the consent tokens that they send.

    `verify` gives the choice of a token and raises BadTokenError for what we did not sign.
    """

    def __init__(self, compiled: CompiledRegistry, verify: Callable[[str], Consent]) -> None:
        self._compiled = compiled
        self._permissions = lru_cache(_MOST_KINDS_OF_CHOICE)(partial(permissions_on, compiled))
        # What does not verify leaves by an exception, which a cache does not keep.
        self._verify = verify
        self._known = lru_cache(_MOST_VISITORS)(self._know)
        self._undecided = lru_cache(64)(self._view_undecided)

    def _know(self, token: str, _signals: Signals, _model: LawModel) -> _Known:
        return _Known(self._verify(token))

    def verify(self, token: str, signals: Signals, model: LawModel) -> Consent | None:
        """A token's choice, whatever its age, None if we did not sign it."""
        try:
            return self._known(token, signals, model).choice
        except BadTokenError:
            return None

    def view(
        self, tokens: Sequence[str], now: datetime, signals: Signals, model: LawModel
    ) -> tuple[VisitorView, bool]:
        """What the tokens on one request are worth, and whether we signed any of them."""
        if not tokens:
            return self._undecided(signals, model, doubtful=False), False
        if len(tokens) > 1:
            choices = [self.verify(token, signals, model) for token in tokens]
            return self.view_of(choices, now, signals, model), any(choices)
        try:
            known = self._known(tokens[0], signals, model)
        except BadTokenError:
            return self._undecided(signals, model, doubtful=True), False
        view = known.view
        if view is None or not view.since <= now < view.until:
            view = known.view = self.view_of([known.choice], now, signals, model)
        return view, True

    def view_of(
        self, choices: Sequence[Consent | None], now: datetime, signals: Signals, model: LawModel
    ) -> VisitorView:
        """What these choices are worth together; None stands for one that we did not sign."""
        around = Circumstances(now=now, signals=signals, model=model)
        return view_visitor(self._compiled, choices, around, self._permissions)

    def _view_undecided(self, signals: Signals, model: LawModel, *, doubtful: bool) -> VisitorView:
        # Where nothing was chosen, nothing depends on the time.
        return self.view_of([None] if doubtful else [], _ANY_TIME, signals, model)
