"""The way of an answer: what may leave of what the app says, and what we add.

The stages in order: the cookies are filtered, third parties gated, unwanted cookies deleted, our own cookie
added, and caches told whose answer it is. An ordinary answer passes the first alone.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from .core import cache_control
from .core.consent import measured
from .core.deletion import BUDGET, RequestScope, UnwantedCookie, field_octets
from .core.filtering import Filtered, Judged
from .core.gating import Recipient
from .core.header_fields import Field, FieldKind, as_pairs, as_text, as_texts
from .core.measurement import begins_with
from .core.structured_fields import before_control, is_token
from .core.verdict import Action, Decision, Reason, ResponseContext
from .engine import NO_DELETIONS, Deletions
from .exchange import Exchange
from .policy import DecisionHook

# The constructor of a named tuple is a Python function; this is the one that it calls.
_new: Any = tuple.__new__
# In Python 3.11 each look at an enum's member by its class costs as much as ten at a name.
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
    is_personal: bool
    """Whether it depends on who asks."""

    def field(self, name: str, value: str) -> Field:
        """A field of ours, as the door has it: ASGI wants names in lower case."""
        return (name.lower().encode(), value.encode("latin-1")) if self.octets else (name, value)

    def lines(self) -> list[str]:
        """Its `Set-Cookie` values: what a script makes of other fields it makes later, and cannot see all."""
        if not self.judged:
            return []
        return [value for name, value in self.texts() if name.lower() == "set-cookie"]

    def texts(self) -> list[tuple[str, str]]:
        """Its fields as text."""
        return as_texts(self.fields) if self.octets else self.fields

    def personal(self, fields: list[Field]) -> "Answer":
        """The same with other fields, which depend on who asks."""
        made: Answer = _new(Answer, (*self[:2], fields, *self[3:-1], True))
        return made


def status_line(exchange: Exchange, status: object) -> str:
    """The code and reason as they may leave: what follows a control character could be a field."""
    if type(status) is str and status.isascii() and status.isprintable():
        return status
    return as_text(status) if exchange.policy.observing else before_control(as_text(status))


def subprotocol(exchange: Exchange, subprotocol: object) -> str | None:
    """The subprotocol that a websocket is accepted with, a field's value: None for what is no token.

    No browser can have asked for such a one (RFC 6455, section 4.1).
    """
    text = as_text(subprotocol)
    return text if exchange.policy.observing or is_token(text) else None


def outgoing(exchange: Exchange, status: object, headers: Any, *, octets: bool = False) -> list[Field]:
    """The header fields of a response as they may leave, with ours. Never raises.

    `status` is a number, or a text that begins with one; `headers` are what the app gives, `octets` says what
    the door sends. In doubt what is governed stays behind, third parties are closed, and the page goes on.
    """
    exchange.start()
    fields = headers if type(headers) is list else as_pairs(headers)
    try:
        filtered = _filter(exchange, fields, octets=octets)
        personal = _take_note(exchange, filtered.judged) if filtered.judged else exchange.was_read
        if exchange.policy.observing:
            return _observed(exchange, status, fields, octets=octets)
        leaving, judged, kinds = filtered
        if exchange.cookies is not None or exchange.changes or exchange.engine.has_stages:
            return _staged(exchange, _new(Answer, (status, octets, leaving, judged, kinds, personal)))
        # An ordinary answer has passed all stages but the last.
        return _for_one_visitor(exchange, leaving, kinds, octets=octets) if personal else leaving
    except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
        exchange.policy.log.failure("a response could not be judged: what is governed is dropped", error)
        return _closed(exchange, fields, octets=octets)


def _observed(exchange: Exchange, status: object, fields: list[Field], *, octets: bool) -> list[Field]:
    """What leaves in observe mode: what the app says, and the cookie of a choice."""
    if not exchange.changes:
        return fields
    kinds = [exchange.engine.filter.kind_of(as_text(name)) for name, _ in as_texts(as_pairs(fields))]
    return _staged(exchange, Answer(status, octets, fields, [], kinds, is_personal=True))


def _staged(exchange: Exchange, answer: Answer) -> list[Field]:
    """The stages between the first and the last, and the last."""
    if exchange.engine.gates:
        answer = _gate(exchange, answer)
    if exchange.cookies is not None or exchange.changes or exchange.compiled.by_objection:
        answer = _with_ours(exchange, answer)
    if not answer.is_personal:
        return answer.fields
    return _for_one_visitor(exchange, answer.fields, answer.kinds, octets=answer.octets)


def _with_ours(exchange: Exchange, answer: Answer) -> Answer:
    """The third and the fourth stage: deletions, and our own cookies."""
    deletions = (_deletions_of_choice if exchange.changes else _deletions)(exchange, answer)
    lines = deletions.fields[answer.octets]
    own = [answer.field("Set-Cookie", line) for line in _own_lines(exchange, answer, deletions)]
    if not (lines or own):
        return answer
    # Of two lines for one place the later one counts.
    start = _first_cookie(answer) if answer.judged else len(answer.fields)
    return answer.personal([*answer.fields[:start], *lines, *answer.fields[start:], *own])


def _filter(exchange: Exchange, fields: list[Field], *, octets: bool) -> Filtered:
    """The first stage: cookies without leave stay behind, the others end in time."""
    now, view, remembered = exchange.policy.clock(), exchange.view, exchange.remembered
    if not remembered.since <= now < remembered.until:
        remembered = exchange.engine.filter.today(view, now)
    hook, review, judge = exchange.policy.on_decision, None, exchange.engine.filter.filter
    if hook is not None:
        # A hook sees each line once, so nothing may have to be judged again.
        fields, review = _exact(fields, octets=octets), partial(_review, exchange, hook)
    try:
        filtered = judge(fields, view, now, remembered, review, octets=octets)
    except (TypeError, ValueError):
        # Fields of other types, or what is no field: made exact first.
        fields = _exact(fields, octets=octets)
        filtered = judge(fields, view, now, remembered, review, octets=octets)
    if _NONE in filtered.kinds:
        names = [as_text(name) for name, _ in fields]
        exchange.policy.decision_log.note_fields(name for name in names if not is_token(name))
    return filtered


def _take_note(exchange: Exchange, judged: list[Judged]) -> bool:
    """Note what became of lines; whether the answer depends on who asks, or would hide that it did."""
    personal, noted = exchange.was_read, exchange.policy.observations.noted
    for one in judged:
        verdict, _, after, _ = one
        personal = personal or after is None or verdict.is_personal
        if verdict not in noted or (after is None and verdict.refusal is None):
            _note(exchange, one)
    return personal


def _note(exchange: Exchange, one: Judged) -> None:
    """Note what became of a line of which there is something left to note."""
    policy = exchange.policy
    if one.after is None:
        if policy.decision_log.note(one.verdict, one.reason) and one.reason is one.verdict.refusal:
            policy.observations.note_all(one.verdict)
    elif not policy.observing:
        policy.observations.note_set(one, exchange.request)


def _gate(exchange: Exchange, answer: Answer) -> Answer:
    """The second stage: third parties that this visitor does not allow stay closed."""
    if _GATED not in answer.kinds:
        types = exchange.engine.filter.types_in(answer.fields)
        if not exchange.engine.makes_document(types, exchange.request):
            return answer
        added = exchange.engine.gate_fields(exchange.view, exchange.request.mount)[answer.octets]
        return _gated(exchange, answer, [*answer.fields, *added])
    recipient, status, texts = _recipient(exchange), _code(answer.status), answer.texts()
    if not exchange.engine.gate.governs(status, texts, recipient.destination):
        return answer
    texts = list(exchange.engine.gate.response_headers(status, texts, recipient))
    return _gated(exchange, answer, _in_form(texts, answer.fields, octets=answer.octets))


def _gated(exchange: Exchange, answer: Answer, fields: list[Field]) -> Answer:
    if exchange.engine.gate.gated_vendors:
        return answer.personal(fields)
    # Where no vendor has hosts, what is reported is the same for all.
    return answer._replace(fields=fields)


def _recipient(exchange: Exchange) -> Recipient:
    field = exchange.request.field
    return exchange.engine.recipient(
        exchange.view, exchange.request.mount, host=field("host"), destination=field("sec-fetch-dest")
    )


def _deletions(exchange: Exchange, answer: Answer) -> Deletions:
    """The deletions that leave with an answer that makes no choice.

    A file, or a page that the app offers to every cache, keeps its header fields: the next page will do.
    """
    cookies = exchange.cookies
    if cookies is None or not exchange.is_same_site or exchange.policy.observing:
        return NO_DELETIONS
    if not answer.is_personal and _is_for_all(exchange, answer):
        return NO_DELETIONS
    lines = answer.lines()
    if lines and _sets_any_of(lines, {one.name for one in cookies.unwanted}):
        return exchange.engine.expire(cookies.unwanted, _scope(exchange), lines, _room(exchange, answer))
    return exchange.engine.deletions(cookies, _scope(exchange), _room(exchange, answer))


def _deletions_of_choice(exchange: Exchange, answer: Answer) -> Deletions:
    """The deletions that leave with the answer to a choice: of what came, and of what may live elsewhere."""
    if exchange.policy.observing:
        return NO_DELETIONS
    # After a choice it is another matter what has to go; but nobody knows the age of what came before it.
    came = exchange.cookies
    unaged = [one for one in came.unwanted if one.rule in came.unaged] if came else []
    unwanted = [*unaged, *exchange.look_at_cookies().unwanted, *_declared(exchange)]
    once = {(one.name, one.named, one.came): one for one in reversed(unwanted)}
    return exchange.engine.expire(
        [*reversed(once.values())], _scope(exchange), answer.lines(), _room(exchange, answer)
    )


def _room(exchange: Exchange, answer: Answer) -> int:
    """The octets that deletions may take, beside our own cookies."""
    if not (exchange.changes or exchange.compiled.by_objection):
        return BUDGET
    return BUDGET - sum(map(field_octets, _own_lines(exchange, answer, NO_DELETIONS, certain=False)))


def _is_for_all(exchange: Exchange, answer: Answer) -> bool:
    destination, accept = exchange.request.field("sec-fetch-dest"), exchange.request.field("accept")
    types = exchange.engine.filter.types_in(answer.fields)
    if cache_control.is_resource(destination, accept, as_text(types[0]) if types else None):
        return True
    return _CACHING in answer.kinds and cache_control.is_shared(answer.texts(), exchange.now)


def _scope(exchange: Exchange) -> RequestScope:
    """Where a cookie of this request can be."""
    minute = int(exchange.now.timestamp() // 60)
    host, path = _host_name(exchange.request.field("host")), exchange.request.full_path
    scope: RequestScope = _new(RequestScope, (host, path, exchange.secure, bool(exchange.changes), minute))
    return scope


def _declared(exchange: Exchange) -> Iterable[UnwantedCookie]:
    """Where a choice is made: all exact names that it does not allow, which may live on other paths."""
    restates = any(not change.adds for change in exchange.changes)
    for name, rule in exchange.engine.filter.optional if restates else ():
        if not exchange.view.permissions.allows_rule(rule):
            yield UnwantedCookie(name, named=True, rule=rule, came=False)


def _own_lines(
    exchange: Exchange, answer: Answer, deletions: Deletions, *, certain: bool = True
) -> list[str]:
    """Our own cookies, as Set-Cookie values.

    The choice that was made, or the note that exempt measurement begins; without `certain`, where it may.
    """
    cookie = partial(exchange.policy.consent_cookie, now=exchange.now, secure=exchange.secure)
    if exchange.changes:
        return [cookie(exchange.changes[-1].consent)]
    if not exchange.compiled.by_objection or exchange.view.measured_since:
        return []
    if certain and not _begins(exchange, answer, deletions):
        return []
    return [cookie(measured(exchange.view.consent, exchange.now, exchange.compiled.registry.version))]


def _begins(exchange: Exchange, answer: Answer, deletions: Deletions) -> bool:
    """Whether exempt measurement of this visitor begins with this answer, which our cookie then notes.

    An answer that is late must not replace a choice that was made since its request came. So only a page does
    it, before which nobody can choose, and not what it loads.
    """
    request, view = exchange.request, exchange.view
    if view.doubtful or not exchange.is_same_site or exchange.policy.observing:
        return False
    if request.field("sec-fetch-dest") not in {"", "document"} or request.field("consent-token"):
        return False
    if any(one.reason is _OWN for one in answer.judged):
        # A pass before this one has noted it, or the app sets a choice.
        return False
    came = exchange.cookies.unaged if exchange.cookies else ()
    return begins_with(exchange.compiled, answer.judged, came, deletions.rules)


def _for_one_visitor(
    exchange: Exchange, fields: list[Field], kinds: list[FieldKind], *, octets: bool
) -> list[Field]:
    """The last stage: caches are told that the answer is for one visitor only."""
    if _CACHING not in kinds:
        return [*fields, *exchange.engine.private_fields[octets]]
    personal = cache_control.personal(as_texts(fields), exchange.engine.depends_on)
    return _in_form(personal, fields, octets=octets)


def trailing(exchange: Exchange, headers: Any, *, octets: bool = False) -> list[Field]:
    """Header fields apart from the head: trailers and interim answers. Judged alike, with nothing added.

    Never raises.
    """
    fields = as_pairs(headers)
    try:
        filtered = _filter(exchange, fields, octets=octets)
        _take_note(exchange, filtered.judged)
        if exchange.policy.observing:
            return fields
        if not exchange.engine.gates:
            return filtered.leaving
        texts = exchange.engine.gate.other_headers(as_texts(filtered.leaving), _recipient(exchange))
        return _in_form(texts, filtered.leaving, octets=octets)
    except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
        exchange.policy.log.failure("header fields could not be judged: what is governed is dropped", error)
        if exchange.policy.observing:
            return fields
        return _in_form(exchange.engine.fail_closed.trailers(as_texts(fields)), fields, octets=octets)


def _closed(exchange: Exchange, fields: list[Field], *, octets: bool) -> list[Field]:
    """What leaves of a response that could not be judged, with the cookie of a choice that holds."""
    if exchange.policy.observing:
        return [*fields, *_in_form(_chosen_in_doubt(exchange), (), octets=octets)]
    pairs = as_pairs(fields)
    closed = [*exchange.engine.fail_closed.headers(as_texts(pairs)), *_chosen_in_doubt(exchange)]
    return _in_form(closed, pairs, octets=octets)


def _chosen_in_doubt(exchange: Exchange) -> list[tuple[str, str]]:
    """The cookie of a choice made during this request: it is recorded, so it leaves if it can."""
    try:
        if not exchange.changes:
            return []
        return [
            (
                "Set-Cookie",
                exchange.policy.consent_cookie(exchange.changes[-1].consent, exchange.now, exchange.secure),
            )
        ]
    except Exception as error:  # noqa: BLE001 - promised: our failure is not the app's
        exchange.policy.log.failure("the cookie of a choice could not be made", error)
        return []


def _review(exchange: Exchange, hook: DecisionHook, judged: Judged, context: ResponseContext) -> Judged:
    """What becomes of a line once the site's hook has seen it.

    What it puts in its place is judged again: no hook undoes a refusal or a limit.
    """
    try:
        line = _replacement(judged.decision, hook(judged.decision, exchange.request.target))
    except Exception as error:  # noqa: BLE001 - whatever a site's function raises
        exchange.policy.log.failure("on_decision failed: its answer is ignored", error)
        return judged
    if line == judged.after:
        return judged
    if line is None:
        return judged._replace(after=None)
    if judged.after is None or judged.verdict.is_personal:
        # The hook was told what this visitor allows: what it makes of that is for this visitor alone.
        exchange.read()
    return exchange.engine.filter.judge_review(line, context)._replace(before=judged.before)


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
