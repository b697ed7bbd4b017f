"""One request and its answer: what both doors do, on text.

An ordinary request asks nothing of it: no choice is read before the app reads it, a response sets a
cookie, or the request carries one that the visitor decides about.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from .core import cache_control, choice
from .core.caller import Caller
from .core.compiled import NOTHING
from .core.consent import NO_SIGNALS, Consent, Signals, measured_only, utc_day
from .core.deletion import (
    BUDGET,
    CookieScope,
    Deletion,
    RequestScope,
    UnwantedCookie,
    declared_scopes,
    expire,
    field_octets,
)
from .core.filtering import CookieSurvey, Header, Judged, is_field_text
from .core.gating import Recipient
from .core.registry import CookieRule, LawModel
from .core.set_cookie import cookie_date
from .core.structured_fields import before_control, is_token
from .core.verdict import Decision, Reason, ResponseContext
from .core.visitor import VisitorView
from .errors import RecordStoreError
from .policy import ConsentPolicy, DecisionHook
from .records.event import Act, ConsentEvent, Offer, Source, make_event
from .request import Request, get_consent

_LOCKED = {"": "on a websocket", "GET": "on GET", "HEAD": "on HEAD"}
T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Change:
    """A choice that is made on a request."""

    consent: Consent
    act: Act

    @property
    def adds(self) -> bool:
        """Whether it adds to what stands, and takes nothing back."""
        return self.act in {Act.GRANT, Act.ADD}


class Exchange:
    """One request and its answer. Everything about the visitor is worked out when it is first needed.

    It does not hold its RequestConsent: such a cycle would leave each request to the garbage collector.
    """

    was_read = False
    """Whether the app has read the visitor's consent."""
    changes: tuple["Change", ...] = ()
    """The choices that were made during this request and hold, in order."""
    started = False
    """Whether the response has started, so that no choice can reach the visitor any more."""
    _unrecorded: tuple["Change", ...] = ()
    finished = False
    """Whether the app is done: whoever asks with what is left of this exchange begins another one."""
    unjudged = False
    """Whether we failed to judge the request's cookies."""
    shows_leftovers = False
    """Whether the request carries cookies that it should not: the app does not see them."""

    def __init__(self, policy: ConsentPolicy, request: Request) -> None:
        self.policy = policy
        self.request = request
        self.compiled = policy.compiled

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
    def model(self) -> LawModel:
        """The law model of this request."""
        return self.policy.model_of(self.request.target)

    @_Once
    def view(self) -> VisitorView:
        """What the visitor's choice is worth; `choose` replaces it."""
        return self._own_view[0]

    @_Once
    def _own_view(self) -> tuple[VisitorView, bool]:
        """What the choices that came with the request are worth, and whether we signed any."""
        return self.policy.visitors.view(self._tokens(), self.now, self._honoured, self.model)

    @property
    def _honoured(self) -> Signals:
        return self.signals if self.policy.honours_signals else NO_SIGNALS

    def _view_of(self, consent: Consent) -> VisitorView:
        return self.policy.visitors.view_of([consent], self.now, self._honoured, self.model)

    @_Once
    def is_same_site(self) -> bool:
        """Whether the request demonstrably comes from this site, so that a missing choice is no choice.

        The consent cookie is Lax: one that we signed, however old, is only sent from our own pages and by
        top-level navigation. Without it the browser has to say so (Fetch Metadata), or to ask for a page.
        """
        if self._own_view[1]:
            return True
        site = self.request.field("sec-fetch-site")
        if site:
            return site in {"same-origin", "same-site", "none"}
        return self.request.method == "GET" and "text/html" in self.request.field("accept").lower()

    @_Once
    def around(self) -> RequestScope:
        """Where a cookie of this request can be."""
        host = self.request.field("host").lower()
        host = (
            host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        )
        minute = int(self.now.timestamp() // 60)
        return RequestScope(host.rstrip("."), self.request.full_path, self.secure, minute=minute)

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
        if self.started:
            return "after the response has started"
        locked = _LOCKED.get(self.request.method, "")
        if locked:
            return locked
        reason = self.caller.why_not(self.compiled.registry.consent.cors_origins)
        return reason and f"by a request that may come from elsewhere: {reason}"

    def _tokens(self) -> list[str]:
        """Every consent token on the request, of the name that the scheme in force has."""
        name = self.policy.cookie_name(secure=self.secure)
        tokens = [value for key, value in self.survey.own if key == name]
        header = self.request.field("consent-token")
        return [*tokens, header] if header else tokens

    def new_id(self) -> str:
        """A fresh random id for a choice."""
        return self.policy.new_id()

    def choose_for_app(self, consent: Consent, *, granting: bool) -> None:
        """Make `consent` the visitor's choice, as the app's doing; `settle` stores its record."""
        change = Change(self._kept(consent), Act.GRANT if granting else Act.WITHDRAW)
        self._unrecorded = (*self._unrecorded, change)
        self._choose(change)

    def _choose(self, change: "Change") -> None:
        self.view = self._view_of(change.consent)
        self.was_read = True

    def _kept(self, consent: Consent) -> Consent:
        """A new choice with what no choice moves: since when the visitor is measured."""
        goes_on = self.compiled.by_objection.difference(consent.refused_purposes)
        return replace(consent, measured_since=self.view.measured_since if goes_on else None)

    @property
    def is_unsettled(self) -> bool:
        """Whether records of the app's choices wait to be stored."""
        return bool(self._unrecorded)

    @property
    def changed(self) -> bool:
        """Whether a choice was made during this request, and holds."""
        return bool(self.changes)

    def settle(self) -> None:
        """Store the records of the app's choices, in order.

        They hold up to the first grant that cannot be recorded: later grants may rest on it. What takes
        something back holds in any case.
        """
        pending, self._unrecorded = self._unrecorded, ()
        holds = True
        for change in pending:
            if holds or not change.adds:
                holds &= self._settle(change)
        self.view = self._view_of(self.changes[-1].consent) if self.changes else self._own_view[0]

    def _settle(self, change: "Change") -> bool:
        """Record one choice of the app's; whether it holds."""
        try:
            self._record(change, Source.APP)
        except RecordStoreError:
            self.policy.log.warning("a choice made by the app could not be recorded: it does not hold")
            return False
        return True

    def _record(
        self, change: "Change", source: Source, offer: Offer | None = None, language: str = ""
    ) -> None:
        """Store the record of a choice, after which it holds."""
        before = self.changes[-1].consent if self.changes else self._chosen_before
        self.policy.record(self._event(change, before, source, offer, language))
        self.changes = (*self.changes, change)
        self.policy.tell_of_choice(before, change.consent, self.request.target)

    @_Once
    def _chosen_before(self) -> Consent | None:
        """The choice that came with the request."""
        return self._own_view[0].consent

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
        self, change: "Change", before: Consent | None, source: Source, offer: Offer | None, language: str
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

    def hides_cookies(self) -> bool:
        """Whether the request's cookies hold any that the app may not see; looked at once, at the start.

        Never raises: what we fail to judge is hidden.
        """
        try:
            return self._looks_for_hidden()
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.unjudged = not self.policy.observing
            self.policy.log.failure("a request could not be judged: its cookies are hidden", error)
            return self.unjudged

    def _looks_for_hidden(self) -> bool:
        self._read_request()
        survey, policy, view = self.survey, self.policy, self.view
        kinds = survey.kinds
        if policy.memory.is_new_today(kinds, self.now.date()) or survey.undeclared:
            self._take_stock()
        if policy.observing:
            return False
        if self.compiled.by_objection and not view.measured_since:
            optional = kinds.optional + survey.disguised
            self.shows_leftovers = kinds.hidden or not all(map(self._is_welcome, optional))
        elif survey.disguised:
            allowed = all(map(view.permissions.allows_rule, survey.disguised))
            self.shows_leftovers = not allowed or policy.enforcer.hides(kinds, view.permissions)
        else:
            self.shows_leftovers = policy.enforcer.hides(kinds, view.permissions)
        return self.shows_leftovers or survey.overflows

    def _read_request(self) -> None:
        """Read what nearly every request is asked for at once, before the app can change anything."""
        self.now = self.policy.clock()
        self.survey = self.policy.survey(self.request.cookie)
        self.view, _ = self._own_view = self.policy.visitors.view(
            self._tokens(), self.now, self._honoured, self.model
        )

    def _take_stock(self) -> None:
        if self.is_same_site:
            kinds, allows = self.survey.kinds, self.view.permissions.allows_rule
            self.policy.inventory.note_undeclared(self.survey.undeclared, self.request.path, self.now)
            refused = {rule.name for rule in kinds.optional if not allows(rule)}
            self.policy.memory.note_arrivals(kinds, kinds.declared - refused, self.now)

    def _is_welcome(self, rule: CookieRule) -> bool:
        """Whether the app may see a rule's cookies on this request."""
        return self.view.permissions.allows_rule(rule) and not self._is_of_unknown_age(rule)

    def _optional(self) -> tuple[CookieRule, ...]:
        return self.survey.kinds.optional

    def _is_of_unknown_age(self, rule: CookieRule) -> bool:
        """Whether a cookie of exempt measurement came and nobody knows since when.

        To let it go on could be to prolong it: it is deleted, and measurement begins anew.
        """
        if rule.purpose not in self.compiled.by_objection or self.view.measured_since:
            return False
        return self.is_same_site and self.view.permissions.allows_rule(rule)

    def visible_cookies(self, field: str) -> str:
        """A `Cookie` value as the app may see it, where some are hidden. Never raises."""
        try:
            hides_all = self.unjudged or self.survey.overflows
            return "" if hides_all else self.policy.enforcer.filter_cookies(field, self._is_welcome)[0]
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("a request could not be judged: its cookies are hidden", error)
            return ""

    @property
    def can_pass_through(self) -> bool:
        """Whether a response without cookies may leave as it is."""
        return not (self.was_read or self.shows_leftovers) and self.policy.gate.mode == "off"

    def hidden_fields(self) -> frozenset[str]:
        """The request fields, named in lower case, that the app is not to see. Never raises."""
        gate = self.policy.gate
        if gate.mode != "enforce" or self.policy.observing:
            return NOTHING
        try:
            return gate.hidden_request_headers(self.view.permissions)
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("a request could not be judged: device fields are hidden", error)
            return gate.hidden_in_doubt

    def status_line(self, status: object) -> str:
        """The code and reason as they may leave: what follows a control character could be a field."""
        return as_text(status) if self.policy.observing else before_control(as_text(status))

    @property
    def gates(self) -> bool:
        """Whether third parties are gated on this exchange."""
        return self.policy.gate.mode != "off" and not self.policy.observing

    def _recipient(self) -> Recipient:
        return Recipient(
            permissions=self.view.permissions,
            host=self.request.field("host"),
            destination=self.request.field("sec-fetch-dest"),
            withdrawn=self.view.decided and not self.view.permissions.allows("device"),
            report_uri=f"{self.request.mount}{self.policy.registry.consent.path}/report",
        )

    def outgoing(self, status: int, headers: list[Header]) -> list[Header]:
        """The header fields of a response as they may leave, with ours. Never raises.

        In doubt what is governed stays behind, third parties are closed, and the page goes on.
        """
        self.started = True
        try:
            leaving, judged = self._judge(headers)
            leaving, gated = self._gate(status, leaving)
            return self._with_ours(leaving, judged, gated=gated)
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("a response could not be judged: what is governed is dropped", error)
            closed = list(headers) if self.policy.observing else self.policy.fail_closed.headers(headers)
            return [*closed, *self._chosen_in_doubt()]

    def subprotocol(self, subprotocol: object) -> str | None:
        """The subprotocol that a websocket is accepted with, a field's value: None for what is no token.

        No browser can have asked for such a one (RFC 6455, section 4.1).
        """
        text = as_text(subprotocol)
        return text if self.policy.observing or is_token(text) else None

    def trailing(self, headers: list[Header]) -> list[Header]:
        """Header fields apart from the head: trailers and interim answers. Judged alike, with nothing added.

        Never raises.
        """
        try:
            leaving, _ = self._judge(headers)
            return list(self.policy.gate.other_headers(leaving, self._recipient())) if self.gates else leaving
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("header fields could not be judged: what is governed is dropped", error)
            return list(headers) if self.policy.observing else self.policy.fail_closed.trailers(headers)

    def _judge(self, headers: list[Header]) -> tuple[list[Header], list[Judged]]:
        now = self.policy.clock()
        context = ResponseContext(self.view, now, _sent(headers))
        hook = self.policy.on_decision
        review = None if hook is None else partial(self._review, hook)
        leaving, judged = self.policy.enforcer.filter(headers, context, review)
        for one in judged:
            if one.after is None:
                self.policy.decision_log.note(one.verdict.name, one.reason, one.verdict.rule)
        if len(leaving) + sum(one.after is None for one in judged) < len(headers):
            self.policy.decision_log.note_fields(name for name, _ in headers if not is_token(name))
        return (list(headers) if self.policy.observing else leaving), judged

    def _gate(self, status: int, leaving: list[Header]) -> tuple[list[Header], bool]:
        """The fields that gate third parties for this visitor, and whether that made the answer personal."""
        if not self.gates:
            return leaving, False
        recipient = self._recipient()
        gated = self.policy.gate.governs(status, leaving, recipient.destination)
        return list(self.policy.gate.response_headers(status, leaving, recipient)), gated

    def _with_ours(self, leaving: list[Header], judged: list[Judged], *, gated: bool) -> list[Header]:
        policy, own = self.policy, self.view.consent if self.changed else None
        if policy.observing and own is None:
            return leaving
        depends = gated or self.was_read or any(map(_depends, judged))
        stored = self._learn(judged)
        expiring: list[Deletion] = []
        if self.shows_leftovers or self.changed:
            expiring = self._expiring(leaving, depends=depends)
            leaving = _before_cookies(expiring, leaving)
        if own is None and self._begins(judged, stored, expiring):
            own = self._measured()
        if own is not None:
            leaving.append(self._own_line(own))
        return cache_control.personal(leaving, policy.depends_on) if depends or expiring or own else leaving

    def _learn(self, judged: list[Judged]) -> list[CookieRule]:
        """Remember where browsers will keep what leaves; returns the optional rules that it falls under."""
        stored: list[CookieRule] = []
        for one in judged:
            verdict = one.verdict
            rule = verdict.rule
            if rule is None or one.after is None or one.reason is Reason.DELETION:
                continue
            if verdict.is_optional:
                stored.append(rule)
            if self.policy.memory.is_new(verdict, self.request.path):
                self.policy.memory.note_set(rule)
                if verdict.is_optional:
                    self.policy.memory.learn(verdict.name, one.before, self.request)
        return stored

    def _expiring(self, leaving: list[Header], *, depends: bool) -> list[Deletion]:
        """The deletions that leave with this answer.

        A file, or a page that the app offers to every cache, keeps its header fields: the next page will do.
        """
        if self.policy.observing or not (self.is_same_site or self.changed):
            return []
        if not depends and (self._is_resource(leaving) or cache_control.is_shared(leaving, self.now)):
            return []
        around = self.around._replace(chosen=self.changed)
        answer = [value for name, value in leaving if name.strip().lower() == "set-cookie"]
        came = list(self._came())
        if self.changed or _sets_any_of(answer, {one.name for one in came}):
            return expire([*came, *self._declared()], around, answer, self._places, self._room())
        return self.policy.memory.deletions(came, [self._places(one) for one in came], around, self._room())

    def _room(self) -> int:
        """The octets for deletions beside our own cookie, which may leave for measurement alone."""
        own = self.view.consent if self.changed else None
        if own is None and self.compiled.by_objection and not self.view.measured_since:
            own = self._measured()
        line = self.policy.consent_cookie(own, self.now, self.secure) if own else ""
        return BUDGET - field_octets(line)

    def _is_resource(self, leaving: list[Header]) -> bool:
        destination, accept = self.request.field("sec-fetch-dest"), self.request.field("accept")
        return cache_control.is_resource(destination, accept, leaving)

    def _came(self) -> Iterable[UnwantedCookie]:
        """What came with the request and has to go."""
        for pair, rule in self.policy.enforcer.leftovers(self.request.cookie, self._is_welcome):
            yield UnwantedCookie(pair.name, "=" in pair.piece, rule)

    def _declared(self) -> Iterable[UnwantedCookie]:
        """Where a choice is made: all exact names that it does not allow, which may live on other paths."""
        restates = any(not change.adds for change in self.changes)
        for name, rule in self.policy.enforcer.optional if restates else ():
            if not self.view.permissions.allows_rule(rule):
                yield UnwantedCookie(name, named=True, rule=rule, came=False)

    def _places(self, leftover: UnwantedCookie) -> tuple[CookieScope, ...]:
        """Where a cookie is declared or was seen to be set."""
        rule = leftover.rule
        return (*declared_scopes(rule), *self.policy.memory.places(leftover.name)) if rule else ()

    def _begins(self, judged: list[Judged], stored: list[CookieRule], expiring: list[Deletion]) -> bool:
        """Whether exempt measurement of this visitor begins with this answer.

        It does with the first such cookie that leaves, or that came with an unknown age and is told to go:
        a script will set it anew. What came and stays must not pass for new, so then it does not.
        """
        if not self.compiled.by_objection or self.changed or self.view.measured_since:
            return False
        came = {rule for rule in self._optional() if self._is_of_unknown_age(rule)}
        new = {rule for rule in stored if rule.purpose in self.compiled.by_objection}
        if not (came or new) or not self.is_same_site or self.view.doubtful:
            return False
        classify = self.policy.registry.classify
        told = {classify(expiry.leftover.name) for expiry in expiring}
        given = any(one.reason is Reason.OWN for one in judged)
        return came <= new | told and not given and not self.request.field("consent-token")

    def _measured(self) -> Consent:
        """The visitor's consent with the day on which measurement begins; nothing else of it moves."""
        chosen = self.view.consent
        if chosen:
            return replace(chosen, measured_since=utc_day(self.now))
        return measured_only(self.now, self.compiled.registry.version)

    def _own_line(self, consent: Consent) -> Header:
        return "Set-Cookie", self.policy.consent_cookie(consent, self.now, self.secure)

    def _chosen_in_doubt(self) -> list[Header]:
        """The cookie of a choice made during this request: it is recorded, so it leaves if it can."""
        try:
            return [self._own_line(self.changes[-1].consent)] if self.changes else []
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("the cookie of a choice could not be made", error)
            return []

    def _review(self, hook: DecisionHook, judged: Judged) -> Judged:
        """What becomes of a line once the site's hook has seen it."""
        decision = judged.decision
        try:
            final = _replaced(decision, hook(decision, self.request.target))
        except Exception as error:  # noqa: BLE001 - whatever a site's function raises
            self.policy.log.failure("on_decision failed: its answer is ignored", error)
            return judged
        return judged if final is decision else judged._replace(after=final.leaving, reason=final.reason)


def _depends(judged: Judged) -> bool:
    """Whether the outcome is this visitor's own, or hides from caches that the answer was personal."""
    if judged.verdict.is_optional or judged.after is None or judged.reason is Reason.OWN:
        return True
    return judged.after is not judged.before and not is_field_text(judged.after)


def as_pairs(headers: Iterable[Iterable[Any]] | None) -> list[tuple[Any, ...]]:
    """The fields as an app gives them, once and for all: some are iterators, which one look would eat."""
    return [tuple(field) for field in headers or ()]


def as_texts(fields: list[tuple[Any, ...]]) -> list[Header]:
    """The fields of `as_pairs` as exact text, so that what is judged is what leaves; what is no pair goes."""
    return [(as_text(field[0]), as_text(field[1])) for field in fields if len(field) == 2]


def as_text(value: object) -> str:
    """The octets of a field as text, of whatever type they come: a wrong type lets no cookie slip by."""
    if isinstance(value, str):
        return str.__str__(value)
    return str(value, "latin-1") if isinstance(value, bytes | bytearray | memoryview) else str(value)


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


def _sets_any_of(lines: list[str], names: set[str]) -> bool:
    """Whether Set-Cookie values may set a cookie of one of these names."""
    heads = (line.partition(";")[0].partition("=") for line in lines)
    return any(not equals or name.strip() in names for name, equals, _ in heads)


def _before_cookies(expiries: list[Deletion], leaving: list[Header]) -> list[Header]:
    """Deletions go before any cookie that leaves: of two lines for one place the later one counts."""
    lines = [("Set-Cookie", expiry.line) for expiry in expiries if is_field_text(expiry.line)]
    cookies = (index for index, (name, _) in enumerate(leaving) if name.strip().lower() == "set-cookie")
    start = next(cookies, len(leaving))
    return [*leaving[:start], *lines, *leaving[start:]]


def _sent(headers: list[Header]) -> tuple[datetime | None, ...]:
    """The `Date` that the app states itself, read; there may be several."""
    dates = [value for name, value in headers if len(name) == 4 and name.lower() == "date"]
    return tuple(map(cookie_date, dates)) if dates else ()


def exchange_of(target: Mapping[str, Any]) -> Exchange:
    """The exchange behind an ASGI scope or WSGI environ, as `get_consent` finds the visitor's consent."""
    visit = get_consent(target).visit
    assert isinstance(visit, Exchange)
    return visit
