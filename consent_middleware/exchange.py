"""One request and its answer: what both doors do, on text.

An ordinary request asks nothing of it: no choice is read before the app reads it, a response sets a
cookie, or the request carries one that the visitor decides about.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from .core import caching, choice
from .core.consent import NO_SIGNALS, Appraisal, Consent, Signals, Standing, measured_only, measuring_day
from .core.enforcement import Action, CookieSurvey, Decision, Header, Moment, Reason, is_field_text
from .core.gating import Recipient
from .core.leftovers import Expiry, Leftover, Place, Surroundings, declared_places, expire
from .core.registry import CookieRule
from .core.set_cookie import cookie_date
from .errors import RecordStoreError
from .observe import logger
from .policy import ConsentPolicy
from .records.event import Act, ConsentEvent, Offer, Source, make_event
from .request import Request, get_consent

_LOCKED = {"": "on a websocket", "GET": "on GET", "HEAD": "on HEAD"}

T = TypeVar("T")
Text = TypeVar("Text", bytes, str)


class _Once(Generic[T]):
    """An attribute worked out on first use. functools.cached_property takes a lock for it in Python 3.11."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self._work_out = work_out
        self._name = work_out.__name__
        self.__doc__ = work_out.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = self._work_out(instance)
        setattr(instance, self._name, value)
        return value


class Exchange:
    """One request and its answer. Everything about the visitor is worked out when it is first needed.

    It does not hold its RequestConsent: such a cycle would leave each request to the garbage collector.
    """

    was_read = False
    """Whether the app has read the visitor's consent."""
    changed = False
    """Whether a choice was made during this request."""
    started = False
    """Whether the response has started, so that no choice can reach the visitor any more."""
    only_adds = False
    """Whether the choice made adds to one that stands: then nothing is withdrawn by it."""
    _unrecorded: tuple[tuple[ConsentEvent, Standing], ...] = ()
    unjudged = False
    """Whether we failed to judge the request's cookies."""
    shows_leftovers = False
    """Whether the request carries cookies that it should not: the app does not see them."""

    def __init__(self, policy: ConsentPolicy, request: Request) -> None:
        self.policy = policy
        self.request = request
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
        gpc, dnt = _has_one(self.request.field("sec-gpc")), _has_one(self.request.field("dnt"))
        return Signals(gpc, dnt) if gpc or dnt else NO_SIGNALS

    @_Once
    def survey(self) -> CookieSurvey:
        """What the request's cookies are, whoever the visitor is."""
        return self.policy.survey(self.request.cookie)

    @_Once
    def needed(self) -> bool:
        """Whether consent is needed on this request."""
        return self.policy.is_needed(self.request.target)

    @_Once
    def standing(self) -> Standing:
        """What the visitor's choice is worth; `choose` replaces it."""
        signals = self.signals if self.policy.honours_signals else NO_SIGNALS
        return self.terms.standing(self._choices(), self.now, signals)

    @_Once
    def is_same_site(self) -> bool:
        """Whether the request demonstrably comes from this site, so that a missing choice is no choice.

        The consent cookie is Lax: one that we signed, however old, is only sent from our own pages and by
        top-level navigation. Without it the browser has to say so (Fetch Metadata), or to ask for a page.
        """
        if any(choice is not None for choice in self._choices()):
            return True
        site = self.request.field("sec-fetch-site")
        if site:
            return site in {"same-origin", "same-site", "none"}
        return self.request.method == "GET" and "text/html" in self.request.field("accept").lower()

    @_Once
    def around(self) -> Surroundings:
        """Where a cookie of this request can be."""
        host = self.request.field("host").lower()
        host = (
            host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        )
        return Surroundings(host.rstrip("."), self.request.full_path, self.secure)

    @_Once
    def visitor(self) -> str:
        """What tells this visitor from others for the count of tries, and is not kept.

        A choice is dated to the microsecond. Without one it is little, so a count lasts no longer than a day.
        """
        tokens = " ".join(pair.value for pair in self.survey.own)
        return tokens or f"{self.now:%Y-%m-%d} {self.request.field('user-agent')}"

    @property
    def locked(self) -> str:
        """Why no choice can be made here and now, "" if one can."""
        return "after the response has started" if self.started else _LOCKED.get(self.request.method, "")

    def _choices(self) -> list[Appraisal | None]:
        """Every consent token on the request, appraised; None for one that we did not sign."""
        name = self.policy.cookie_name(secure=self.secure)
        appraised = [self.policy.appraise(pair.value) for pair in self.survey.own if pair.name == name]
        header = self.request.field("consent-token")
        if header:
            appraised.append(self.policy.appraise(header))
        return appraised

    def new_id(self) -> str:
        """A fresh random id for a choice."""
        return self.policy.new_id()

    def choose(self, consent: Consent) -> None:
        """Make `consent` the visitor's choice from here on; its cookie leaves with this answer."""
        self.standing = self.terms.standing([self.terms.appraise(consent)], self.now, self.signals)
        self.was_read = self.changed = True

    def _kept(self, consent: Consent) -> Consent:
        """A new choice with what no choice moves: since when the visitor is measured."""
        return replace(consent, measured_since=self.standing.measured_since)

    def choose_for_app(self, consent: Consent, *, granting: bool) -> None:
        """The same for a choice that the app makes: its record is stored by `settle`, before the headers."""
        consent, self.only_adds = self._kept(consent), granting
        act = Act.GRANT if granting else Act.WITHDRAW
        self._unrecorded = (*self._unrecorded, (self._event(consent, act, Source.APP), self.standing))
        self.choose(consent)

    @property
    def is_unsettled(self) -> bool:
        """Whether records of the app's choices wait to be stored."""
        return bool(self._unrecorded)

    def settle(self) -> None:
        """Store the records of the app's choices; a grant that cannot be recorded is taken back."""
        events, self._unrecorded = self._unrecorded, ()
        for event, before in events:
            try:
                self.policy.record(event)
            except RecordStoreError:
                logger.exception("a choice made by the app could not be recorded: it does not hold")
                self.standing, self.changed = before, False
                return

    def answer(
        self, answer: choice.Answer, *, source: Source, offer: Offer | None = None, language: str = ""
    ) -> bool:
        """Make what the visitor answered the choice, once it is recorded; whether all of it fits a cookie.

        `offer` is the verified statement of what was shown, None where this site showed nothing. Raises
        RecordStoreError where a grant cannot be recorded; nothing has changed then.
        """
        decided = choice.decide(answer, self.terms, self.now, new_id=self.new_id(), gpc=self.signals.gpc)
        wanted = self._kept(decided)
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

    def hides_cookies(self) -> bool:
        """Whether the request's cookies hold any that the app may not see; looked at once, at the start.

        Never raises: what we fail to judge is hidden.
        """
        try:
            return self._looks_for_hidden()
        except Exception:  # noqa: BLE001 - promised: our failure is not the app's
            logger.exception("a request could not be judged: its cookies are hidden from the app")
            self.unjudged = not self.policy.observing
            return self.unjudged

    def _looks_for_hidden(self) -> bool:
        survey, policy = self.survey, self.policy
        if survey.undeclared or policy.memory.has_news(survey.declared, self.now.date()):
            self._take_stock()
        optional = survey.optional + survey.disguised
        if not (optional or survey.hidden) or policy.observing or not self.needed:
            return False
        dated = not self.terms.by_objection or self.standing.measured_since
        welcome = self.standing.allows_rule if dated else self._is_welcome
        self.shows_leftovers = survey.hidden or not all(map(welcome, optional))
        return self.shows_leftovers

    def _take_stock(self) -> None:
        if self.is_same_site:
            survey = self.survey
            self.policy.inventory.note_undeclared(survey.undeclared, self.request.path, self.now)
            refused = {rule.name for rule in survey.optional if not self.standing.allows_rule(rule)}
            self.policy.memory.note_arrivals(survey.declared, survey.declared - refused, self.now)

    def _is_welcome(self, rule: CookieRule) -> bool:
        """Whether the app may see a rule's cookies on this request."""
        return self.standing.allows_rule(rule) and not self._is_of_unknown_age(rule)

    def _optional(self) -> tuple[CookieRule, ...]:
        return self.survey.optional

    def _is_of_unknown_age(self, rule: CookieRule) -> bool:
        """Whether a cookie of exempt measurement came and nobody knows since when.

        To let it go on could be to prolong it: it is deleted, and measurement begins anew.
        """
        if rule.purpose not in self.terms.by_objection or self.standing.measured_since:
            return False
        return self.is_same_site and self.standing.allows_rule(rule)

    def visible_cookies(self, field: str) -> str:
        """A `Cookie` value as the app may see it, where some are hidden."""
        return "" if self.unjudged else self.policy.enforcer.filter_cookies(field, self._is_welcome)[0]

    @property
    def adds_nothing(self) -> bool:
        """Whether a response without cookies may leave as it is."""
        return not (self.was_read or self.shows_leftovers) and self.policy.gate.mode == "off"

    def hidden_fields(self) -> frozenset[str]:
        """The request fields, named in lower case, that the app is not to see."""
        gate = self.policy.gate
        if gate.mode != "enforce" or not self.needed or self.policy.observing:
            return frozenset()
        return gate.hidden_request_headers(self.standing)

    def early_hints(self, links: Iterable[bytes]) -> list[bytes]:
        """The links of a 103 answer without those towards third parties that this visitor refuses."""
        return self.policy.gate.early_hint_links(links, self._recipient())

    @property
    def gates(self) -> bool:
        """Whether third parties are gated on this exchange."""
        return self.policy.gate.mode != "off" and self.needed and not self.policy.observing

    def _recipient(self) -> Recipient:
        return Recipient(
            standing=self.standing,
            host=self.request.field("host"),
            destination=self.request.field("sec-fetch-dest"),
            withdrawn=self.standing.decided and not self.standing.allows("device"),
            report_uri=f"{self.request.mount}{self.policy.registry.consent.path}/report",
        )

    def outgoing(self, status: int, headers: list[Header]) -> list[Header]:
        """The header fields of a response as they may leave, with ours. Never raises.

        In doubt cookies stay behind and the page goes on.
        """
        self.started = True
        try:
            leaving, decisions = self._judge(headers)
            leaving, gated = self._gate(status, leaving)
            return self._with_ours(leaving, decisions, gated=gated)
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
        moment = Moment(self.standing, now, self.needed, _sent(headers))
        leaving, decisions = self.policy.enforcer.filter(headers, moment, self._review)
        return (list(headers) if self.policy.observing else leaving), decisions

    def _gate(self, status: int, leaving: list[Header]) -> tuple[list[Header], bool]:
        """The fields that gate third parties for this visitor, and whether that made the answer personal."""
        if not self.gates:
            return leaving, False
        recipient = self._recipient()
        gated = self.policy.gate.governs(status, leaving, recipient.destination)
        return list(self.policy.gate.response_headers(status, leaving, recipient)), gated

    def _with_ours(self, leaving: list[Header], decisions: list[Decision], *, gated: bool) -> list[Header]:
        policy, own = self.policy, self.standing.consent if self.changed else None
        if policy.observing and own is None:
            return leaving
        depends = gated or self.was_read or any(map(self._depends, decisions))
        stored = self._learn(decisions)
        expiring: list[Expiry] = []
        if self.shows_leftovers or self.changed:
            expiring = self._expiring(leaving, depends=depends)
            leaving = _before_cookies(expiring, leaving)
        if own is None and self._begins(decisions, stored, expiring):
            own = self._measured()
        if own is not None:
            leaving.append(("Set-Cookie", policy.consent_cookie(own, self.now, self.secure)))
        return caching.personal(leaving, policy.depends_on) if depends or expiring or own else leaving

    def _learn(self, decisions: list[Decision]) -> list[CookieRule]:
        """Remember where browsers will keep what leaves; returns the optional rules that it falls under."""
        stored: list[CookieRule] = []
        for decision in decisions:
            rule = decision.rule
            if rule is None or decision.action is Action.DROP or decision.reason is Reason.DELETION:
                continue
            self.policy.memory.settle(rule)
            if rule.purpose not in self.terms.essential:
                stored.append(rule)
                self.policy.memory.learn(decision.name, decision.before, self.request)
        return stored

    def _expiring(self, leaving: list[Header], *, depends: bool) -> list[Expiry]:
        """The deletions that leave with this answer.

        A file, or a page that the app offers to every cache, keeps its header fields: the next page will do.
        """
        if self.policy.observing or not self.needed or not (self.is_same_site or self.changed):
            return []
        if not depends and (self._is_resource(leaving) or caching.is_shared(leaving, self.now)):
            return []
        around = self.around._replace(chosen=self.changed)
        answer = [value for name, value in leaving if name.strip().lower() == "set-cookie"]
        expiries = expire([*self._came(around), *self._declared()], around, answer)
        for expiry in expiries:
            self.policy.memory.tried(self.visitor, expiry.leftover.name)
        return expiries

    def _is_resource(self, leaving: list[Header]) -> bool:
        destination, accept = self.request.field("sec-fetch-dest"), self.request.field("accept")
        return caching.is_resource(destination, accept, leaving)

    def _came(self, around: Surroundings) -> Iterable[Leftover]:
        """What came with the request and has to go."""
        for pair, rule in self.policy.enforcer.leftovers(self.request.cookie, self._is_welcome):
            leftover = self.policy.memory.leftover(pair, self._places(rule, pair.name), self.visitor, around)
            if leftover is not None:
                yield leftover

    def _declared(self) -> Iterable[Leftover]:
        """Where a choice is made: all exact names that it does not allow, which may live on other paths."""
        restates = self.changed and not self.only_adds
        for name, rule in self.policy.enforcer.optional if restates else ():
            if not self.standing.allows_rule(rule):
                yield Leftover(name, named=True, known=self._places(rule, name), came=False)

    def _places(self, rule: CookieRule | None, name: str) -> tuple[Place, ...]:
        return (*declared_places(rule), *self.policy.memory.places(name)) if rule else ()

    def _begins(self, decisions: list[Decision], stored: list[CookieRule], expiring: list[Expiry]) -> bool:
        """Whether exempt measurement of this visitor begins with this answer.

        It does with the first such cookie that leaves, or that came with an unknown age and is told to go:
        a script will set it anew. What came and stays must not pass for new, so then it does not.
        """
        if not self.terms.by_objection or self.changed or self.standing.measured_since:
            return False
        came = {rule for rule in self._optional() if self._is_of_unknown_age(rule)}
        new = {rule for rule in stored if rule.purpose in self.terms.by_objection}
        if not (came or new) or not self.needed or not self.is_same_site or self.standing.doubtful:
            return False
        classify = self.policy.registry.classify
        told = {classify(expiry.leftover.name) for expiry in expiring}
        given = any(decision.reason is Reason.OWN for decision in decisions)
        return came <= new | told and not given and not self.request.field("consent-token")

    def _measured(self) -> Consent:
        """The visitor's consent with the day on which measurement begins; nothing else of it moves."""
        chosen = self.standing.consent
        return replace(chosen, measured_since=measuring_day(self.now)) if chosen else measured_only(self.now)

    def _without_cookies(self, headers: list[Header]) -> list[Header]:
        if self.policy.observing:
            logger.exception("a response could not be judged")
            return list(headers)
        logger.exception("a response could not be judged: its cookies are dropped")
        kept = [(n, v) for n, v in headers if n.strip().lower() not in self.policy.enforcer.governed]
        return kept if len(kept) == len(headers) else caching.personal(kept, self.policy.depends_on)

    def _depends(self, decision: Decision) -> bool:
        """Whether the outcome is this visitor's own, or hides from caches that the answer was personal."""
        if decision.rule is not None and decision.rule.purpose not in self.terms.essential:
            return True
        text = decision.leaving
        return text is None or decision.reason is Reason.OWN or not is_field_text(text)

    def _review(self, decision: Decision) -> Decision:
        if self.policy.on_decision is not None:
            try:
                decision = _replaced(decision, self.policy.on_decision(decision, self.request.target))
            except Exception:  # noqa: BLE001 - whatever a site's function raises
                logger.exception("on_decision failed: its answer is ignored")
        if decision.action is Action.DROP:
            self.policy.decision_log.note(decision)
        return decision


def mentions(fields: list[tuple[Text, Text]], signs: Iterable[Text], divider: Text) -> bool:
    """Whether any of `signs`, in lower case, stands in the header fields: a quick look for both doors.

    In doubt, as with fields of another type, the answer is yes.
    """
    try:
        everything = divider.join([divider.join(field) for field in fields]).lower()
    except TypeError:
        return True
    return any(sign in everything for sign in signs)


def _replaced(decision: Decision, answer: object) -> Decision:
    """What a site's hook makes of a decision; TypeError for an answer that is none."""
    if answer is None:
        return decision
    if not isinstance(answer, Decision):
        raise TypeError(f"a Decision or None is wanted, not {type(answer).__name__}")
    return answer


def _has_one(field: str) -> bool:
    """Whether a signal is given: one member that is exactly `1`, however many fields (GPC, section 3)."""
    return field == "1" or (bool(field) and any(member.strip(" \t") == "1" for member in field.split(",")))


def _before_cookies(expiries: list[Expiry], leaving: list[Header]) -> list[Header]:
    """Deletions go before any cookie that leaves: of two lines for one place the later one counts."""
    lines = [("Set-Cookie", expiry.line) for expiry in expiries if is_field_text(expiry.line)]
    cookies = (index for index, (name, _) in enumerate(leaving) if name.strip().lower() == "set-cookie")
    start = next(cookies, len(leaving))
    return [*leaving[:start], *lines, *leaving[start:]]


def _sent(headers: list[Header]) -> tuple[datetime | None, ...]:
    """The `Date` that the app states itself, read; there may be several."""
    return tuple(cookie_date(value) for name, value in headers if name.strip().lower() == "date")


def exchange_of(target: Mapping[str, Any]) -> Exchange:
    """The exchange behind an ASGI scope or WSGI environ, as `get_consent` finds the visitor's consent."""
    visit = get_consent(target).visit
    assert isinstance(visit, Exchange)
    return visit
