"""One request and its answer: what both doors do.

What is needed of the request is read before the app runs, for the app may change it. The answer then passes
the stages in order: the cookies are filtered, third parties gated, unwanted cookies deleted, our own cookie
added, and caches told whose answer it is. An ordinary answer leaves after the first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from .core import cache_control, choice
from .core.caller import Caller
from .core.compiled import CompiledRegistry
from .core.consent import NO_SIGNALS, Consent, Signals, measured_only
from .core.deletion import BUDGET, RequestScope, UnwantedCookie, field_octets
from .core.filtering import CookiesSeen, Filtered, Judged, split_cookies
from .core.gating import Recipient
from .core.header_fields import Field, FieldKind, as_pairs, as_text, as_texts
from .core.measurement import begins_with
from .core.registry import LawModel
from .core.set_cookie import MOST_PAIRS
from .core.structured_fields import before_control, is_token
from .core.verdict import Action, Decision, Reason, ResponseContext
from .core.visitor import VisitorView
from .engine import NO_DELETIONS, Deletions, Engine, HiddenFields
from .errors import RecordStoreError
from .policy import DecisionHook
from .recording import Change
from .records.event import Act, ConsentEvent, Offer, Source, make_event
from .request import Request, get_consent

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""The methods on which choices may be made: no safe one (RFC 9110, section 9.2.1), and no unknown one."""


# The constructor of a named tuple is a Python function; this is the one that it calls.
_new: Any = tuple.__new__


class Phase(Enum):
    """How far a request has come."""

    OPEN = "the app may still make choices"
    STARTED = "the response has started: no choice can reach the visitor any more"
    FINISHED = "the app is done: whoever asks with what is left of this exchange begins another one"


# In Python 3.11 each look at an enum's member by its class costs as much as ten at a name.
_OPEN, _STARTED, _FINISHED = Phase.OPEN, Phase.STARTED, Phase.FINISHED
_OWN, _NONE, _CACHING, _GATED = Reason.OWN, FieldKind.NONE, FieldKind.CACHING, FieldKind.GATED


class Answer(NamedTuple):
    """A response on its way through the stages."""

    status: object
    octets: bool
    """Whether its fields are octets; else they are text."""
    fields: list[Field]
    judged: list[Judged]
    kinds: list[FieldKind]
    """The kinds of its fields that later stages look for."""
    types: list[str | bytes]
    """The values of its `Content-Type` fields."""
    is_personal: bool
    """Whether it depends on who asks."""

    def field(self, name: str, value: str) -> Field:
        """A field of ours, as the door has it: ASGI wants names in lower case."""
        return (name.lower().encode(), value.encode("latin-1")) if self.octets else (name, value)

    def texts(self) -> list[tuple[str, str]]:
        """Its fields as text."""
        return as_texts(self.fields) if self.octets else self.fields

    def lines(self) -> list[str]:
        """Its `Set-Cookie` values: what a script makes of other fields it makes later, and cannot see all."""
        return [value for name, value in self.texts() if name.lower() == "set-cookie"]

    def personal(self, fields: list[Field]) -> "Answer":
        """The same with other fields, which depend on who asks."""
        made: Answer = _new(Answer, (*self[:2], fields, *self[3:-1], True))
        return made


class Exchange:
    """One request and its answer.

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
            self.model: LawModel = engine.model if policy.model is None else engine.model_of(request.target)
            self.signals = NO_SIGNALS if request.is_plain else _signals(request)
            honoured = self.signals if engine.honours_signals else NO_SIGNALS
            self._names, tokens = split_cookies(request.cookie, engine.own_names[secure])
            overflows = len(self._names) > MOST_PAIRS
            if overflows or not request.is_plain:
                tokens += _other_tokens(request, overflows=overflows)
            self.view, self._is_known = engine.visitors.view(tokens, self.now, honoured, self.model)
            self._remembered = engine.filter.today(self.view, self.now)
            # Where there are more cookies than are read, the name of the last stands for all that follow.
            if overflows or not self._remembered.visible.issuperset(self._names):
                self._read_cookies()
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self._read_in_doubt(error)
        self._came_with = self.view

    def _read_cookies(self) -> None:
        """Find out which cookies the app may see and which have to go, and note what came."""
        seen = self._cookies_seen()
        if seen.undeclared:
            self.policy.observations.note_undeclared(seen.undeclared, self.request.path, self.now)
        if not self.policy.observing and (seen.unwanted or seen.visible != self.request.cookie):
            self.cookies = seen

    def _cookies_seen(self) -> CookiesSeen:
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
        self.view, self._remembered = self.engine.view_in_doubt, self.engine.nothing_remembered
        if not self.policy.observing:
            self.cookies = CookiesSeen("", (), (), (), ())

    @property
    def is_finished(self) -> bool:
        """Whether the app is done."""
        return self._phase is _FINISHED

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

    # --- choices

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
        self.view, self._remembered = view, self.engine.filter.today(view, self.now)

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

    # --- the answer

    def status_line(self, status: object) -> str:
        """The code and reason as they may leave: what follows a control character could be a field."""
        if type(status) is str and status.isascii() and status.isprintable():
            return status
        return as_text(status) if self.policy.observing else before_control(as_text(status))

    def subprotocol(self, subprotocol: object) -> str | None:
        """The subprotocol that a websocket is accepted with, a field's value: None for what is no token.

        No browser can have asked for such a one (RFC 6455, section 4.1).
        """
        text = as_text(subprotocol)
        return text if self.policy.observing or is_token(text) else None

    def outgoing(self, status: object, headers: Any, *, octets: bool = False) -> list[Field]:
        """The header fields of a response as they may leave, with ours. Never raises.

        `status` is a number, or a text that begins with one; `headers` are what the app gives, `octets` says
        what the door sends. In doubt what is governed stays
        behind, third parties are closed, and the page goes on.
        """
        self._phase = _STARTED
        fields = headers if type(headers) is list else as_pairs(headers)
        try:
            filtered = self._filter(fields, octets=octets)
            personal = self._take_note(filtered.judged) if filtered.judged else self.was_read
            if self.policy.observing and not self.changes:
                return fields
            leaving = fields if self.policy.observing else filtered.leaving
            if self.cookies is not None or self.changes or self.engine.has_stages:
                _, judged, kinds, types = filtered
                return self._staged(_new(Answer, (status, octets, leaving, judged, kinds, types, personal)))
            # An ordinary answer has passed all stages but the last.
            return self._for_one_visitor(leaving, filtered.kinds, octets=octets) if personal else leaving
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("a response could not be judged: what is governed is dropped", error)
            return self._closed(fields, octets=octets)

    def _staged(self, answer: Answer) -> list[Field]:
        """The stages between the first and the last, and the last."""
        if self.engine.gates:
            answer = self._gate(answer)
        if self.cookies is not None or self.changes or self.compiled.by_objection:
            answer = self._with_ours(answer)
        if not answer.is_personal:
            return answer.fields
        return self._for_one_visitor(answer.fields, answer.kinds, octets=answer.octets)

    def _with_ours(self, answer: Answer) -> Answer:
        """The third and the fourth stage: deletions, and our own cookies."""
        deletions = self._deletions(answer) if self.cookies or self.changes else NO_DELETIONS
        lines = deletions.fields[answer.octets]
        own = [answer.field("Set-Cookie", line) for line in self._own_lines(answer, deletions)]
        if not (lines or own):
            return answer
        # Of two lines for one place the later one counts.
        start = _first_cookie(answer) if answer.judged else len(answer.fields)
        return answer.personal([*answer.fields[:start], *lines, *answer.fields[start:], *own])

    def _filter(self, fields: list[Field], *, octets: bool) -> Filtered:
        """The first stage: cookies without leave stay behind, the others end in time."""
        now, view, remembered = self.policy.clock(), self.view, self._remembered
        if not remembered.since <= now < remembered.until:
            remembered = self.engine.filter.today(view, now)
        hook, review, judge = self.policy.on_decision, None, self.engine.filter.filter
        if hook is not None:
            # A hook sees each line once, so nothing may have to be judged again.
            fields, review = _exact(fields, octets=octets), partial(self._review, hook)
        try:
            filtered = judge(fields, view, now, remembered, review, octets=octets)
        except (TypeError, ValueError):
            # Fields of other types, or what is no field: made exact first.
            fields = _exact(fields, octets=octets)
            filtered = judge(fields, view, now, remembered, review, octets=octets)
        if _NONE in filtered.kinds:
            names = [as_text(name) for name, _ in fields]
            self.policy.decision_log.note_fields(name for name in names if not is_token(name))
        return filtered

    def _take_note(self, judged: list[Judged]) -> bool:
        """Note what became of lines; whether the answer depends on who asks, or would hide that it did."""
        personal, noted = self.was_read, self.policy.observations.noted
        for one in judged:
            verdict, _, after, _ = one
            personal = personal or after is None or verdict.is_personal
            if verdict not in noted or (after is None and verdict.refusal is None):
                self._note(one)
        return personal

    def _note(self, one: Judged) -> None:
        """Note what became of a line of which there is something left to note."""
        policy = self.policy
        if one.after is None:
            if policy.decision_log.note(one.verdict, one.reason) and one.reason is one.verdict.refusal:
                policy.observations.note_all(one.verdict)
        elif not policy.observing:
            policy.observations.note_set(one, self.request)

    def _gate(self, answer: Answer) -> Answer:
        """The second stage: third parties that this visitor does not allow stay closed."""
        if _GATED not in answer.kinds:
            if not self.engine.makes_document(answer.types, self.request):
                return answer
            added = self.engine.gate_fields(self.view, self.request.mount)[answer.octets]
            return self._gated(answer, [*answer.fields, *added])
        recipient, status, texts = self._recipient(), _code(answer.status), answer.texts()
        if not self.engine.gate.governs(status, texts, recipient.destination):
            return answer
        texts = list(self.engine.gate.response_headers(status, texts, recipient))
        return self._gated(answer, _in_form(texts, answer.fields, octets=answer.octets))

    def _gated(self, answer: Answer, fields: list[Field]) -> Answer:
        if self.engine.gate.gated_vendors:
            return answer.personal(fields)
        # Where no vendor has hosts, what is reported is the same for all.
        return answer._replace(fields=fields)

    def _recipient(self) -> Recipient:
        field = self.request.field
        return self.engine.recipient(
            self.view, self.request.mount, host=field("host"), destination=field("sec-fetch-dest")
        )

    def _deletions(self, answer: Answer) -> Deletions:
        """The deletions that leave with this answer.

        A file, or a page that the app offers to every cache, keeps its header fields: the next page will do.
        """
        if self.policy.observing or not (self.is_same_site or self.changes):
            return NO_DELETIONS
        if not (answer.is_personal or self.changes) and self._is_for_all(answer):
            return NO_DELETIONS
        around, room = self._scope(), BUDGET
        if self.changes or self.compiled.by_objection:
            room -= sum(map(field_octets, self._own_lines(answer, NO_DELETIONS, certain=False)))
        # After a choice it is another matter what has to go.
        cookies = self._cookies_seen() if self.changes or self.cookies is None else self.cookies
        lines = answer.lines() if answer.judged else []
        if self.changes or (lines and _sets_any_of(lines, {one.name for one in cookies.unwanted})):
            return self.engine.expire([*cookies.unwanted, *self._declared()], around, lines, room)
        return self.engine.deletions(cookies, around, room)

    def _is_for_all(self, answer: Answer) -> bool:
        destination, accept = self.request.field("sec-fetch-dest"), self.request.field("accept")
        if cache_control.is_resource(destination, accept, as_text(answer.types[0]) if answer.types else None):
            return True
        return _CACHING in answer.kinds and cache_control.is_shared(answer.texts(), self.now)

    def _scope(self) -> RequestScope:
        """Where a cookie of this request can be."""
        minute = int(self.now.timestamp() // 60)
        host, path = _host_name(self.request.field("host")), self.request.full_path
        scope: RequestScope = _new(RequestScope, (host, path, self.secure, bool(self.changes), minute))
        return scope

    def _declared(self) -> Iterable[UnwantedCookie]:
        """Where a choice is made: all exact names that it does not allow, which may live on other paths."""
        restates = any(not change.adds for change in self.changes)
        for name, rule in self.engine.filter.optional if restates else ():
            if not self.view.permissions.allows_rule(rule):
                yield UnwantedCookie(name, named=True, rule=rule, came=False)

    def _own_lines(self, answer: Answer, deletions: Deletions, *, certain: bool = True) -> list[str]:
        """Our own cookies, as Set-Cookie values.

        The choice that was made, or the note that exempt measurement begins; without `certain`, where it may.
        """
        policy, secure = self.policy, self.secure
        if self.changes:
            lines = [policy.consent_cookie(self.changes[-1].consent, self.now, secure)]
            noted = f"{policy.measured_name(secure=secure)}=" in self.request.cookie
            return [*lines, policy.forgotten_measured_cookie(secure=secure)] if noted else lines
        if not self.compiled.by_objection or self.view.measured_since or policy.observing:
            return []
        if certain and not self._begins(answer, deletions):
            return []
        note = measured_only(self.now, self.compiled.registry.version)
        return [policy.measured_cookie(note, self.now, secure=secure)]

    def _begins(self, answer: Answer, deletions: Deletions) -> bool:
        """Whether exempt measurement of this visitor begins with this answer."""
        if not self.is_same_site or self.view.doubtful or self.request.field("consent-token"):
            return False
        if any(one.reason is _OWN for one in answer.judged):
            # A pass before this one has noted it, or the app sets a choice.
            return False
        came = self.cookies.unaged if self.cookies else ()
        return begins_with(self.compiled, answer.judged, came, deletions.rules)

    def _for_one_visitor(self, fields: list[Field], kinds: list[FieldKind], *, octets: bool) -> list[Field]:
        """The last stage: caches are told that the answer is for one visitor only."""
        if _CACHING not in kinds:
            return [*fields, *self.engine.private_fields[octets]]
        personal = cache_control.personal(as_texts(fields), self.engine.depends_on)
        return _in_form(personal, fields, octets=octets)

    def trailing(self, headers: Any, *, octets: bool = False) -> list[Field]:
        """Header fields apart from the head: trailers and interim answers. Judged alike, with nothing added.

        Never raises.
        """
        fields = as_pairs(headers)
        try:
            filtered = self._filter(fields, octets=octets)
            self._take_note(filtered.judged)
            if self.policy.observing:
                return fields
            if not self.engine.gates:
                return filtered.leaving
            texts = self.engine.gate.other_headers(as_texts(filtered.leaving), self._recipient())
            return _in_form(texts, filtered.leaving, octets=octets)
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("header fields could not be judged: what is governed is dropped", error)
            if self.policy.observing:
                return fields
            return _in_form(self.engine.fail_closed.trailers(as_texts(fields)), fields, octets=octets)

    def _closed(self, fields: list[Field], *, octets: bool) -> list[Field]:
        """What leaves of a response that could not be judged, with the cookie of a choice that holds."""
        if self.policy.observing:
            return [*fields, *_in_form(self._chosen_in_doubt(), (), octets=octets)]
        pairs = as_pairs(fields)
        closed = [*self.engine.fail_closed.headers(as_texts(pairs)), *self._chosen_in_doubt()]
        return _in_form(closed, pairs, octets=octets)

    def _chosen_in_doubt(self) -> list[tuple[str, str]]:
        """The cookie of a choice made during this request: it is recorded, so it leaves if it can."""
        try:
            if not self.changes:
                return []
            return [
                ("Set-Cookie", self.policy.consent_cookie(self.changes[-1].consent, self.now, self.secure))
            ]
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
            self.policy.log.failure("the cookie of a choice could not be made", error)
            return []

    def _review(self, hook: DecisionHook, judged: Judged, context: ResponseContext) -> Judged:
        """What becomes of a line once the site's hook has seen it.

        What it puts in its place is judged again: no hook undoes a refusal or a limit.
        """
        try:
            line = _replacement(judged.decision, hook(judged.decision, self.request.target))
        except Exception as error:  # noqa: BLE001 - whatever a site's function raises
            self.policy.log.failure("on_decision failed: its answer is ignored", error)
            return judged
        if line == judged.after:
            return judged
        if line is None:
            return judged._replace(after=None)
        # The hook was told what this visitor allows: what it makes of that is for this visitor alone.
        self.was_read |= judged.after is None or judged.verdict.is_personal
        return self.engine.filter.judge_review(line, context)._replace(before=judged.before)


def _replacement(decision: Decision, answer: object) -> str | None:
    """The line that a site's hook lets leave, None for none; TypeError or ValueError for no answer of its."""
    if answer is None:
        return decision.after
    if not isinstance(answer, Decision):
        raise TypeError(f"a Decision or None is wanted, not {type(answer).__name__}")
    if Action(answer.action) is Action.DROP:
        return None
    line = answer.before if answer.after is None else answer.after
    if not isinstance(line, str):
        raise TypeError(f"a Set-Cookie value is a str, not {type(line).__name__}")
    return str.__str__(line)


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


def _code(status: object) -> int:
    """The number of a status line; 200 for what is none."""
    code = as_text(status)[:3]
    return int(code) if code.isascii() and code.isdigit() else 200


def _host_name(host: str) -> str:
    """A `Host` without its port, in lower case."""
    host = host.lower()
    host = host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return host.rstrip(".")


def _exact(fields: list[Field], *, octets: bool) -> list[Field]:
    """The fields in the door's own type; what is no pair of such goes."""
    pairs = as_pairs(fields)
    return _in_form(as_texts(pairs), pairs, octets=octets)


def _in_form(texts: Iterable[tuple[str, str]], came: Iterable[Any], *, octets: bool) -> list[Field]:
    """Fields as the door has them: names of ours in lower case (ASGI), those that `came` as they were."""
    if not octets:
        return list(texts)
    names = {as_text(field[0]) for field in came if field}
    named = ((name if name in names else name.lower(), value) for name, value in texts)
    # No cookie is left that octets cannot say; what else an app got wrong shall not end in an error.
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in named]


def _sets_any_of(lines: list[str], names: set[str]) -> bool:
    """Whether Set-Cookie values may set a cookie of one of these names."""
    heads = (line.partition(";")[0].partition("=") for line in lines)
    return any(not equals or name.strip() in names for name, equals, _ in heads)


def _first_cookie(answer: Answer) -> int:
    """Where the first `Set-Cookie` stands; behind the last field if there is none."""
    for index, (name, _) in enumerate(answer.fields):
        if as_text(name).lower() == "set-cookie":
            return index
    return len(answer.fields)


def exchange_of(target: Mapping[str, Any]) -> Exchange:
    """The exchange behind an ASGI scope or WSGI environ, as `get_consent` finds the visitor's consent."""
    visit = get_consent(target).visit
    assert isinstance(visit, Exchange)
    return visit
