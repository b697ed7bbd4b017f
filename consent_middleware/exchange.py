"""One request: what was read of it before the app ran, and the choices that are made during it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from .core import choice
from .core.caller import Caller
from .core.compiled import CompiledRegistry
from .core.consent import NO_SIGNALS, Consent, Signals
from .core.filtering import CookiesSeen, split_cookies
from .core.registry import LawModel
from .core.set_cookie import MOST_PAIRS
from .core.visitor import VisitorView
from .engine import Engine, HiddenFields
from .errors import RecordStoreError
from .recording import Change
from .records.event import Act, ConsentEvent, Offer, Source, make_event
from .request import Request, get_consent

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""The methods on which choices may be made: no safe one (RFC 9110, section 9.2.1), and no unknown one."""


class Phase(Enum):
    """How far a request has come."""

    OPEN = "the app may still make choices"
    STARTED = "the response has started: no choice can reach the visitor any more"
    FINISHED = "the app is done: whoever asks with what is left of this exchange begins another one"


# In Python 3.11 each look at an enum's member by its class costs as much as ten at a name.
_OPEN, _STARTED, _FINISHED = Phase.OPEN, Phase.STARTED, Phase.FINISHED


class Exchange:
    """One request: what was read of it before the app ran, and the choices that are made during it.

    It does not hold its RequestConsent: such a cycle would leave each request to the garbage collector.
    """

    _phase = _OPEN
    changes: tuple[Change, ...] = ()
    """The choices that were made during this request and hold, in order."""
    pending: tuple[Change, ...] = ()
    """The choices of the app's whose records are not stored yet: `settle` does it."""
    was_read = False
    """Whether the app has read the visitor's consent."""
    cookies: CookiesSeen | None = None
    """What the request's cookies are, where the app may not see all of them."""
    _same_site: bool | None = None

    def __init__(self, engine: Engine, request: Request) -> None:
        policy = engine.policy
        self.engine, self.policy, self.request = engine, policy, request
        try:
            # What is needed of the request is read before the app can change anything.
            self.now = policy.clock()
            self.secure = secure = request.secure or engine.is_secure(request)
            ask = policy.model
            self.model: LawModel = engine.model if ask is None else engine.model_of(ask, request.target)
            self.signals = NO_SIGNALS if request.is_plain else _signals(request)
            honoured = self.signals if engine.honours_signals else NO_SIGNALS
            self._names, tokens = split_cookies(request.cookie, engine.own_names[secure])
            overflows = len(self._names) > MOST_PAIRS
            if overflows or not request.is_plain:
                tokens += _other_tokens(request, overflows=overflows)
            self.view, self._is_known = engine.visitors.view(tokens, self.now, honoured, self.model)
            self.remembered = engine.filter.today(self.view, self.now)
            # Where there are more cookies than are read, the name of the last stands for all that follow.
            if overflows or not self.remembered.visible.issuperset(self._names):
                self._read_cookies()
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self._read_in_doubt(error)
        self._came_with = self.view

    def __repr__(self) -> str:
        """Of frameworks' pages for errors, which show the environ: nothing of the visitor's."""
        method = self.request.method[:20] or "websocket"
        return f"<Exchange of {self.policy!r}: {method}, {self._phase.name.lower()}>"

    def _read_cookies(self) -> None:
        """Find out which cookies the app may see and which have to go, and note what came."""
        seen = self.look_at_cookies()
        if seen.undeclared:
            self.policy.observations.note_undeclared(seen.undeclared, self.request.path, self.now)
        if not self.policy.observing and (seen.unwanted or seen.visible != self.request.cookie):
            self.cookies = seen

    def look_at_cookies(self) -> CookiesSeen:
        """What the request's cookies are for the visitor as now known."""
        same_site = self.is_same_site
        seen = self.engine.filter.cookies_seen(
            self.request.cookie, self._names, self.view, self.now, same_site=same_site
        )
        if seen.arrived:
            self.policy.observations.note_arrivals(seen.arrived, self.now)
        return seen

    def _read_in_doubt(self, error: Exception) -> None:
        """What we fail to judge is hidden, and nobody's permissions count."""
        self.policy.log.failure("a request could not be judged: its cookies are hidden", error)
        self.now, self.signals, self.model = datetime.now(UTC), NO_SIGNALS, "opt-in"
        self.secure = self.request.secure
        self._is_known = False
        self.view, self.remembered = self.engine.view_in_doubt, self.engine.nothing_remembered
        if not self.policy.observing:
            self.cookies = CookiesSeen("", (), (), (), ())

    @property
    def is_finished(self) -> bool:
        """Whether the app is done."""
        return self._phase is _FINISHED

    def start(self) -> None:
        """The response starts."""
        self._phase = _STARTED

    def finish(self) -> None:
        """The app is done."""
        self._phase = _FINISHED

    def finish_if_started(self) -> None:
        """The app has returned; one that has not begun its answer yet will do so when its body is read."""
        if self._phase is _STARTED:
            self._phase = _FINISHED

    def hidden_fields(self) -> HiddenFields:
        """The request fields that the app is not to see. Never raises."""
        try:
            return self.engine.hidden_fields(self.view.permissions)
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("a request could not be judged: device fields are hidden", error)
            return self.engine.hidden_in_doubt

    @property
    def is_same_site(self) -> bool:
        """Whether the request demonstrably comes from this site, so that a missing choice is no choice.

        The consent cookie is Lax: one that we signed, however old, is only sent from our own pages and by
        top-level navigation. Without it the browser has to say so (Fetch Metadata), or to ask for a page.
        """
        if self._same_site is None:
            self._same_site = self._is_known or _is_same_site(self.request)
        return self._same_site

    @property
    def compiled(self) -> CompiledRegistry:
        """The registry in force, made ready."""
        return self.engine.compiled

    @property
    def caller(self) -> Caller:
        """Where the request comes from."""
        field = self.request.field
        return Caller(
            site=field("sec-fetch-site"),
            origin=field("origin"),
            host=field("host"),
            has_cookies=bool(self.request.cookie),
            sends_json=field("content-type").partition(";")[0].strip().lower() == "application/json",
        )

    @property
    def locked(self) -> str:
        """Why no choice can be made here and now, "" if one can."""
        if self._phase is not _OPEN:
            return "after the response has started"
        method = self.request.method
        if method not in _CHANGING:
            return f"on {method[:20]}" if method else "on a websocket"
        reason = self.caller.why_not(self.compiled.registry.consent.cors_origins)
        return reason and f"by a request that may come from elsewhere: {reason}"

    def read(self) -> VisitorView:
        """What the visitor's choice is worth, for the app: its answer is this visitor's own then."""
        self.was_read = True
        return self.view

    def new_id(self) -> str:
        """A fresh random id for a choice."""
        return self.policy.new_id()

    def choose_for_app(self, consent: Consent, *, granting: bool) -> None:
        """Make `consent` the visitor's choice, as the app's doing; `settle` stores its record."""
        made = self.policy.fitted(self._kept(consent))
        change = Change(made, Act.GRANT if granting else Act.WITHDRAW)
        self.pending = (*self.pending, change)
        self._choose(change)

    def _choose(self, change: Change) -> None:
        self._turn_to(self._view_of(change.consent))
        self.was_read = True

    def _turn_to(self, view: VisitorView) -> None:
        self.view, self.remembered = view, self.engine.filter.today(view, self.now)

    def _view_of(self, consent: Consent) -> VisitorView:
        honoured = self.signals if self.engine.honours_signals else NO_SIGNALS
        return self.engine.visitors.view_of([consent], self.now, honoured, self.model)

    def _kept(self, consent: Consent) -> Consent:
        """A new choice with what no choice moves: since when the visitor is measured."""
        goes_on = self.compiled.by_objection.difference(consent.refused_purposes)
        return replace(consent, measured_since=self.view.measured_since if goes_on else None)

    def settle(self) -> None:
        """Store the records of the app's choices, in order.

        They hold up to the first grant that cannot be recorded: later grants may rest on it. What takes
        something back holds in any case.
        """
        pending, self.pending = self.pending, ()
        holds = True
        for change in pending:
            if holds or not change.adds:
                holds &= self._settle(change)
        self._turn_to(self._view_of(self.changes[-1].consent) if self.changes else self._came_with)

    def _settle(self, change: Change) -> bool:
        """Record one choice of the app's; whether it holds."""
        try:
            self._record(change, Source.APP)
        except RecordStoreError:
            self.policy.log.warning("a choice made by the app could not be recorded: it does not hold")
            return False
        return True

    def _record(self, change: Change, source: Source, offer: Offer | None = None, language: str = "") -> None:
        """Store the record of a choice, after which it holds."""
        before = self.changes[-1].consent if self.changes else self._came_with.live_consent
        self.policy.recorder.record(self._event(change, before, source, offer, language))
        self.changes = (*self.changes, change)
        self.policy.recorder.tell(before, change.consent, self.request.target)

    def answer(
        self, answer: choice.Answer, *, source: Source, offer: Offer | None = None, language: str = ""
    ) -> bool:
        """Make what the visitor answered the choice, once it is recorded; whether all of it fits a cookie.

        `offer` is the verified statement of what was shown, None where this site showed nothing. What adds
        nothing to what stands is no choice: nothing is recorded. Raises RecordStoreError where a grant
        cannot be recorded; nothing has changed then.
        """
        moment = choice.Moment(now=self.now, new_id=self.new_id(), signals=self.signals)
        asked = (answer, self.compiled, moment, self.view.standing)
        if answer.choice is choice.Choice.ADD and not choice.adds(*asked):
            return True
        wanted = self._kept(choice.decide(*asked))
        made = self.policy.fitted(wanted)
        change = Change(made, Act(answer.choice.value))
        self._record(change, source, offer, language)
        self._choose(change)
        return made is wanted

    def _event(
        self, change: Change, before: Consent | None, source: Source, offer: Offer | None, language: str
    ) -> ConsentEvent:
        return make_event(
            random=self.policy.random(16),
            consent=change.consent,
            compiled=self.compiled,
            snapshot=self.policy.snapshot.hash,
            source=source,
            action=change.act,
            token=self.policy.token(change.consent),
            now=self.now,
            host=self.request.field("host"),
            language=language,
            signals=[name for name, seen in self.signals._asdict().items() if seen],
            offer=offer,
            previous=before,
        )


def _other_tokens(request: Request, *, overflows: bool) -> list[str]:
    """What counts as a consent token besides those in cookies: one that verifies, or a doubt."""
    token = request.field("consent-token")
    # There may be a refusal among the cookies that are not read.
    return [*([token] if token else ()), *([""] if overflows else ())]


def _is_same_site(request: Request) -> bool:
    """Whether the browser says so itself, or asks for a page without saying anything."""
    site = request.field("sec-fetch-site")
    if site:
        return site in {"same-origin", "same-site", "none"}
    return request.method == "GET" and "text/html" in request.field("accept").lower()


def _signals(request: Request) -> Signals:
    """The preference signals on the request."""
    gpc, dnt = _has_one(request.field("sec-gpc")), _has_one(request.field("dnt"))
    return Signals(gpc, dnt) if gpc or dnt else NO_SIGNALS


def _has_one(field: str) -> bool:
    """Whether a signal is given: one member that is exactly `1`, however many fields (GPC, section 3)."""
    return field == "1" or (bool(field) and any(member.strip(" \t") == "1" for member in field.split(",")))


def exchange_of(target: Mapping[str, Any]) -> Exchange:
    """The exchange behind an ASGI scope or WSGI environ, as `get_consent` finds the visitor's consent."""
    visit = get_consent(target).visit
    assert isinstance(visit, Exchange)
    return visit
