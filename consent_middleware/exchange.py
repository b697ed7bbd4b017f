"""One request and its answer: what both doors do, on text.

An ordinary request asks nothing of it: no choice is read before the app reads it, a response sets a
cookie, or the request carries one that the visitor decides about.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from .core import choice
from .core.caching import personal
from .core.consent import NO_SIGNALS, Appraisal, Consent, Signals, Standing
from .core.enforcement import Action, Decision, Header, Moment, Reason
from .core.set_cookie import cookie_date
from .errors import RecordStoreError
from .observe import logger
from .policy import ConsentPolicy
from .records.event import Act, ConsentEvent, Offer, Source, make_event
from .request import Request, RequestConsent, get_consent

_LOCKED = {"": "on a websocket", "GET": "on GET", "HEAD": "on HEAD"}
_DATE_SKEW = 60


T = TypeVar("T")


class _Once(Generic[T]):
    """An attribute worked out on first use. functools.cached_property takes a lock for it in Python 3.11."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self._work_out = work_out
        self._name = work_out.__name__
        self.__doc__ = work_out.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = instance.__dict__[self._name] = self._work_out(instance)
        return value


class Exchange:
    """One request and its answer. Everything about the visitor is worked out when it is first needed."""

    was_read = False
    """Whether the app has read the visitor's consent."""
    changed = False
    """Whether a choice was made during this request."""
    started = False
    """Whether the response has started, so that no choice can reach the visitor any more."""

    def __init__(self, policy: ConsentPolicy, request: Request) -> None:
        self.policy = policy
        self.request = request
        self.consent = RequestConsent(self)
        self._unrecorded: list[tuple[ConsentEvent, Standing]] = []
        self.terms = policy.terms

    @_Once
    def now(self) -> datetime:
        """When the request was first judged."""
        return self.policy.clock()

    @_Once
    def secure(self) -> bool:
        """Whether the visitor's browser speaks https."""
        return self.policy.is_secure(self.request)

    @_Once
    def signals(self) -> Signals:
        """The preference signals on the request."""
        return Signals(_has_one(self.request.field("sec-gpc")), _has_one(self.request.field("dnt")))

    @_Once
    def needed(self) -> bool:
        """Whether consent is needed on this request."""
        return self.policy.is_needed(self.request.target)

    @_Once
    def standing(self) -> Standing:
        """What the visitor's choice is worth; `choose` replaces it."""
        signals = self.signals if self.policy.honours_signals else NO_SIGNALS
        return self.terms.standing(self._choices(), self.now, signals)

    @property
    def locked(self) -> str:
        """Why no choice can be made here and now, "" if one can."""
        return "after the response has started" if self.started else _LOCKED.get(self.request.method, "")

    def _choices(self) -> list[Appraisal | None]:
        """Every consent token on the request, appraised; None for one that we did not sign."""
        name = self.policy.cookie_name(secure=self.secure)
        own = self.policy.survey(self.request.cookie).own
        tokens = [pair.value for pair in own if pair.name == name]
        header = self.request.field("consent-token")
        return [self.policy.appraise(token) for token in (*tokens, *([header] if header else []))]

    def new_id(self) -> str:
        """A fresh random id for a choice."""
        return self.policy.new_id()

    def choose(self, consent: Consent) -> None:
        """Make `consent` the visitor's choice from here on; its cookie leaves with this answer."""
        self.standing = self.terms.standing([self.terms.appraise(consent)], self.now, self.signals)
        self.was_read = self.changed = True

    def choose_for_app(self, consent: Consent, *, granting: bool) -> None:
        """The same for a choice that the app makes: its record is stored by `settle`, before the headers."""
        act = Act.GRANT if granting else Act.WITHDRAW
        self._unrecorded.append((self._event(consent, act, Source.APP), self.standing))
        self.choose(consent)

    @property
    def is_unsettled(self) -> bool:
        """Whether records of the app's choices wait to be stored."""
        return bool(self._unrecorded)

    def settle(self) -> None:
        """Store the records of the app's choices; a grant that cannot be recorded is taken back."""
        while self._unrecorded:
            event, before = self._unrecorded.pop(0)
            try:
                self.policy.record(event)
            except RecordStoreError:
                logger.exception("a choice made by the app could not be recorded: it does not hold")
                self.standing, self.changed = before, False
                self._unrecorded.clear()

    def answer(
        self, answer: choice.Answer, *, source: Source, offer: Offer | None = None, language: str = ""
    ) -> bool:
        """Make what the visitor answered the choice, once it is recorded; whether all of it fits a cookie.

        `offer` is the verified statement of what was shown, None where this site showed nothing. Raises
        RecordStoreError where a grant cannot be recorded; nothing has changed then.
        """
        wanted = choice.decide(answer, self.terms, self.now, new_id=self.new_id(), gpc=self.signals.gpc)
        made = self.policy.fitted(wanted)
        self.policy.record(self._event(made, Act(answer.choice.value), source, offer, language))
        self.choose(made)
        return made is wanted

    def _event(
        self, consent: Consent, act: Act, source: Source, offer: Offer | None = None, language: str = ""
    ) -> ConsentEvent:
        return make_event(
            record_id=self.policy.new_record_id(self.now),
            consent=consent,
            terms=self.terms,
            snapshot=self.policy.snapshot.hash,
            source=source,
            action=act,
            token=self.policy.token(consent),
            now=self.now,
            host=self.request.field("host"),
            language=language,
            signals=[name for name, seen in self.signals._asdict().items() if seen],
            offer=offer,
            previous=self.standing.consent,
        )

    def visible_cookies(self, field: str) -> str:
        """A `Cookie` value as the app may see it; the very same text if nothing is hidden."""
        survey = self.policy.survey(field)
        if not (survey.optional or survey.hidden) or self.policy.observing or not self.needed:
            return field
        if not survey.hidden and all(map(self.standing.allows_rule, survey.optional)):
            return field
        return self.policy.enforcer.filter_cookies(field, self.standing)[0]

    @property
    def adds_nothing(self) -> bool:
        """Whether a response without cookies may leave as it is."""
        return not self.was_read

    def outgoing(self, headers: list[Header]) -> list[Header]:
        """The header fields of a response as they may leave, with ours. Never raises.

        In doubt cookies stay behind and the page goes on.
        """
        self.started = True
        try:
            return self._with_ours(*self._judge(headers))
        except Exception:  # noqa: BLE001 - promised: our failure is not the app's
            return self._without_cookies(headers)

    def trailing(self, headers: list[Header]) -> list[Header]:
        """Header fields that come after the body: judged alike, with nothing added. Never raises."""
        try:
            return self._judge(headers)[0]
        except Exception:  # noqa: BLE001 - promised: our failure is not the app's
            return self._without_cookies(headers)

    def _judge(self, headers: list[Header]) -> tuple[list[Header], list[Decision]]:
        now = self.policy.clock()
        moment = Moment(self.standing, now, self.needed, _dates_hold(headers, now))
        leaving, decisions = self.policy.enforcer.filter(headers, moment, self._review)
        return (list(headers) if self.policy.observing else leaving), decisions

    def _with_ours(self, leaving: list[Header], decisions: list[Decision]) -> list[Header]:
        policy, chosen = self.policy, self.standing.consent
        if self.changed and chosen is not None:
            leaving.append(("Set-Cookie", policy.consent_cookie(chosen, self.now, self.secure)))
        elif policy.observing:
            return leaving
        depends = self.was_read or any(self._depends(decision) for decision in decisions)
        return personal(leaving, policy.depends_on) if depends else leaving

    def _without_cookies(self, headers: list[Header]) -> list[Header]:
        logger.exception("a response could not be judged: its cookies are dropped")
        return [(n, v) for n, v in headers if n.strip().lower() not in self.policy.enforcer.governed]

    def _depends(self, decision: Decision) -> bool:
        """Whether the outcome is this visitor's own, or hides from caches that the answer was personal."""
        if decision.action is Action.DROP or decision.reason is Reason.OWN:
            return True
        return decision.rule is not None and decision.rule.purpose not in self.terms.essential

    def _review(self, decision: Decision) -> Decision:
        if self.policy.on_decision is not None:
            try:
                decision = self.policy.on_decision(decision, self.request.target) or decision
            except Exception:  # noqa: BLE001 - whatever a site's function raises
                logger.exception("on_decision failed: its answer is ignored")
        self.policy.decision_log.note(decision)
        return decision


def _has_one(field: str) -> bool:
    """Whether a signal is given: one member that is exactly `1`, however many fields (GPC, section 3)."""
    return field == "1" or (bool(field) and any(member.strip() == "1" for member in field.split(",")))


def _dates_hold(headers: list[Header], now: datetime) -> bool:
    """Whether a `Date` that the app set itself is now, within a minute: browsers count `Expires` from it."""
    for name, value in headers:
        if name.strip().lower() == "date":
            date = cookie_date(value)
            if date is None or abs((date - now).total_seconds()) > _DATE_SKEW:
                return False
    return True


def exchange_of(target: Mapping[str, Any]) -> Exchange:
    """The exchange behind an ASGI scope or WSGI environ, as `get_consent` finds the visitor's consent."""
    visit = get_consent(target).visit
    assert isinstance(visit, Exchange)
    return visit
