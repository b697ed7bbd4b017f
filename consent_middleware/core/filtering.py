"""Header fields in, header fields and decisions out; a request's cookies in, what the app may see out."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from .compiled import CompiledRegistry
from .consent import utc_day
from .permissions import Permissions
from .registry import LONGEST_REMEMBERED, CookieRule
from .set_cookie import (
    LONGEST_PAIR,
    MOST_PAIRS,
    CookiePair,
    SetCookie,
    cut_date,
    flaw_of,
    names_seen,
    read_attributes,
    read_cookies,
)
from .structured_fields import is_token
from .verdict import NO_DEMANDS, Action, Decision, Demands, Limits, Reason, ResponseContext, Verdict

Header = tuple[str, str]

_BREAK = re.compile("[\r\n\0]")
_BREAK_IN_OCTETS = re.compile(b"[\r\n\0]")
_UNSAFE_FIELD = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_DAY = timedelta(days=1)
# The constructor of a named tuple is a Python function; this is the one that it calls.
_new = tuple.__new__
_MOST_VERDICTS = 512


class FieldKind(Enum):
    """What a header field is, by its name."""

    GOVERNED = "it sets cookies"
    PADDED = "it is an attempt at a governed field, which some servers trim and others send"
    OTHER = "any other field"
    NONE = "its name is no token, so it is no field"


class Judged(NamedTuple):
    """One line with its verdict, and what becomes of it."""

    verdict: Verdict
    before: str
    after: str | None
    reason: Reason

    @property
    def decision(self) -> Decision:
        """The same as the site's hook gets it."""
        action = Action.REWRITE
        if self.after is None or self.after == self.before:
            action = Action.DROP if self.after is None else Action.KEEP
        return Decision(self.verdict.name, action, self.reason, self.verdict.rule, self.before, self.after)


class _Verdicts:
    """The verdicts of one day for all who have the same permissions."""

    __slots__ = ("made", "since", "until")

    def __init__(self, now: datetime) -> None:
        self.made: dict[tuple[str, str], Verdict] = {}
        self.since = utc_day(now)
        self.until = self.since + _DAY


class Filter:
    """Judges cookie by cookie; built once from a registry.

    `own_names` are those of the consent cookie, `verifies` tells whether we signed a value of it.
    """

    def __init__(
        self, compiled: CompiledRegistry, own_names: frozenset[str], verifies: Callable[[str], bool]
    ) -> None:
        self._compiled = compiled
        registry = compiled.registry
        self._own_names = own_names
        self._verifies = verifies
        self._classify = registry.classify
        self._verdicts: dict[Permissions, _Verdicts] = {}
        self._known_kind = lru_cache(1024)(self._kind)
        self._known_hides = lru_cache(2048)(self._hides)
        self._known_kinds = lru_cache(1024)(self._kinds_of)
        self._keep_unknown = registry.consent.unknown == "keep"
        self._hide_undeclared = registry.consent.undeclared_request != "keep"
        self._expire_undeclared = registry.consent.undeclared_request == "expire"
        self.governed = frozenset(
            {"set-cookie", *(name.lower() for name in registry.consent.set_cookie_headers)}
        )
        """Names of the header fields that set cookies, in lower case."""
        self.optional = tuple(
            (name, rule) for name, rule in compiled.optional_cookies.items() if "*" not in name
        )
        """The exact names that the visitor decides about, as they stand in header fields, and their rules."""
        self._demands = {
            rule.name: demands
            for rule in registry.cookies
            if (demands := Demands.of(rule, registry.purposes[rule.purpose])) != NO_DEMANDS
        }

    def judge(self, line: str, context: ResponseContext) -> Judged:
        """Judge one `Set-Cookie` value."""
        head, _, tail = line.partition(";")
        name, equals, value = head.partition("=")
        name = name.strip(" \t") if equals else ""
        verdict, end = self._verdicts_of(context).made.get((name, tail)), None
        if verdict is None:
            tail, end = cut_date(tail)
            verdict = self._verdict(name, tail, context)
        fixed = verdict.fixed
        if fixed is not None and len(head) <= LONGEST_PAIR and line.isascii() and line.isprintable():
            after, reason = fixed
            return _new(Judged, (verdict, line, line if after == "" else after, reason))
        attributes = verdict.attributes if end is None else verdict.attributes.with_date(end)
        value = value.strip(" \t") if equals else head.strip(" \t")
        cookie = _new(SetCookie, (line, name, value, head, attributes, verdict.flaw))
        after, reason = verdict.judge(cookie, context)
        return _new(Judged, (verdict, line, after, reason))

    def _verdicts_of(self, context: ResponseContext) -> _Verdicts:
        """The verdicts of today for who has these permissions."""
        verdicts = self._verdicts.get(context.view.permissions)
        if verdicts is not None and verdicts.since <= context.now < verdicts.until:
            return verdicts
        return self._new_verdicts(context)

    def _verdict(self, name: str, tail: str, context: ResponseContext) -> Verdict:
        """The verdict on a name with these attributes, remembered if they are not too long."""
        verdicts = self._verdicts_of(context)
        verdict = verdicts.made.get((name, tail)) or self._make(name, tail, context)
        if len(name) + len(tail) <= LONGEST_REMEMBERED:
            if len(verdicts.made) >= _MOST_VERDICTS:
                verdicts = self._new_verdicts(context)
            verdicts.made[name, tail] = verdict
        return verdict

    def _new_verdicts(self, context: ResponseContext) -> _Verdicts:
        if len(self._verdicts) >= _MOST_VERDICTS:
            self._verdicts = {}
        verdicts = self._verdicts[context.view.permissions] = _Verdicts(context.now)
        return verdicts

    def _make(self, name: str, tail: str, context: ResponseContext) -> Verdict:
        """Work out the verdict on a name with these attributes."""
        attributes, permissions = read_attributes(tail), context.view.permissions
        own = name in self._own_names
        rule = None if own else self._classify(name)
        flaw = flaw_of(name, attributes)
        verdict = Verdict(
            name=name,
            rule=None if flaw else rule,
            attributes=attributes,
            flaw=flaw,
            refusal=None if own else self._refusal(rule, permissions),
            kept_for=Reason.OWN if own else self._kept_for(rule, permissions),
            is_optional=not flaw and rule is not None and rule.purpose not in self._compiled.essential,
            limits=Limits.of(rule, self._compiled, context.now),
            demands=self._demands.get(rule.name) if rule else None,
            verifies=self._verifies if own else None,
        )
        return verdict.with_fixed(tail)

    def _refusal(self, rule: CookieRule | None, permissions: Permissions) -> Reason | None:
        """Why cookies of this rule may not be stored, None if they may."""
        if rule is None:
            return None if self._keep_unknown else Reason.UNDECLARED
        if permissions.allows_rule(rule):
            return None
        return Reason.REFUSED if permissions.decided else Reason.NOT_ASKED

    def _kept_for(self, rule: CookieRule | None, permissions: Permissions) -> Reason:
        if rule is None:
            return Reason.UNDECLARED_KEPT
        if rule.purpose in self._compiled.essential:
            return Reason.ESSENTIAL
        by_law = permissions.by_default and rule.purpose in self._compiled.by_consent
        return Reason.NOT_REFUSED if by_law else Reason.GRANTED

    def filter(
        self,
        headers: Iterable[Header],
        context: ResponseContext,
        review: Callable[[Judged], Judged] | None = None,
    ) -> tuple[list[Header], list[Judged]]:
        """Judge the header fields of one response, in order; what is not governed leaves as it came.

        `review` sees each line with what becomes of it, and says what does. Returns the fields that leave and
        the lines that were judged. What is no field never leaves: see `sendable`.
        """
        leaving: list[Header] = []
        judged: list[Judged] = []
        for field in headers:
            name, value = field
            kind = self._known_kind(name) if len(name) <= LONGEST_REMEMBERED else self._kind(name)
            if kind is FieldKind.OTHER and value.isprintable():
                leaving.append(field)
            elif kind is FieldKind.OTHER:
                leaving.extend(self.sendable(name, value))
            elif kind is not FieldKind.NONE:
                one = self.judge(value, context)
                if kind is FieldKind.PADDED:
                    one = one._replace(after=None, reason=Reason.MALFORMED)
                final = one if review is None else review(one)
                judged.append(final)
                after = final.after
                if after is None or kind is FieldKind.PADDED:
                    continue
                if final is one or is_field_text(after):
                    leaving.append(field if after == value else (name, after))
        return leaving, judged

    def _kind(self, name: str | bytes) -> "FieldKind":
        name = name if isinstance(name, str) else name.decode("latin-1")
        if name.strip().lower() in self.governed:
            return FieldKind.GOVERNED if is_token(name) else FieldKind.PADDED
        return FieldKind.OTHER if is_token(name) else FieldKind.NONE

    def passes(self, fields: Iterable[tuple[Any, Any]]) -> bool:
        """Whether header fields, all text or all octets, may leave as they are. In doubt they may not."""
        try:
            return all(self._is_plain(name, value) for name, value in fields)
        except (TypeError, ValueError):
            return False

    def _is_plain(self, name: Any, value: Any) -> bool:
        if len(name) > LONGEST_REMEMBERED or self._known_kind(name) is not FieldKind.OTHER:
            return False
        # Exact types: what inherits from them can say one thing when asked and another when sent.
        if type(name) is bytes and type(value) is bytes:
            return _BREAK_IN_OCTETS.search(value) is None
        return type(name) is str and type(value) is str and _BREAK.search(value) is None

    def sendable(self, name: str, value: str) -> tuple[Header, ...]:
        """A field that is not governed as it can leave, or nothing: servers differ in what they check.

        A name that is no token could end in the middle (RFC 9110, section 5.1). CR, LF and NUL in a value
        become blanks (ditto, section 5.5); with a governed name behind them the field is given up.
        """
        if not is_token(name):
            return ()
        if value.isprintable() or _BREAK.search(value) is None:
            return ((name, value),)
        lower = value.lower()
        return () if any(sign in lower for sign in self.governed) else ((name, _BREAK.sub(" ", value)),)

    def survey(self, field: str) -> "CookieSurvey":
        """What a request's `Cookie` value holds, whoever the visitor is: `MOST_PAIRS` of it at most."""
        names: list[str] = []
        own: list[tuple[str, str]] = []
        nameless = set[str]()
        pieces = field.split(";", MOST_PAIRS)
        for piece in pieces[:MOST_PAIRS]:
            name, equals, value = piece.partition("=")
            name = name.strip(" \t")
            if name in self._own_names:
                own.append((name, value.strip(" \t")))
                continue
            names.append(name)
            if not equals:
                nameless.add(name)
        kinds = self._kinds(tuple(names), remembered=not nameless)
        return CookieSurvey(
            own=own,
            kinds=kinds,
            disguised=self._all_disguised(field) if kinds.undeclared else (),
            overflows=len(pieces) > MOST_PAIRS,
            # The text of a nameless cookie is a value, which is told to nobody.
            undeclared=tuple([name for name in kinds.undeclared if name not in nameless]),
        )

    def hides(self, kinds: "CookieKinds", permissions: Permissions) -> bool:
        """Whether cookies of some kinds hold any that these permissions do not allow."""
        return (self._known_hides if kinds.remembered else self._hides)(kinds, permissions)

    def _hides(self, kinds: "CookieKinds", permissions: Permissions) -> bool:
        return kinds.hidden or not all(map(permissions.allows_rule, kinds.optional))

    def _kinds(self, names: tuple[str, ...], *, remembered: bool) -> "CookieKinds":
        if remembered and sum(map(len, names)) <= LONGEST_REMEMBERED:
            return self._known_kinds(names)
        return self._kinds_of(names, remembered=False)

    def _kinds_of(self, names: tuple[str, ...], *, remembered: bool = True) -> "CookieKinds":
        rules = {name: self._classify(name) for name in names}
        declared = [rule for rule in rules.values() if rule]
        return CookieKinds(
            remembered=remembered,
            optional=tuple(rule for rule in declared if rule.purpose not in self._compiled.essential),
            hidden=self._hide_undeclared and None in rules.values(),
            declared=frozenset(rule.name for rule in declared),
            undeclared=tuple(sorted(name for name, rule in rules.items() if not rule and name)),
        )

    def _all_disguised(self, field: str) -> tuple[CookieRule, ...]:
        return tuple({rule for pair in read_cookies(field) for rule in self._disguised(pair)})

    def filter_cookies(
        self, field: str, allows: Callable[[CookieRule], bool]
    ) -> tuple[str, list[CookiePair]]:
        """A request's `Cookie` value as the app may see it, and what was taken out.

        `allows` says whether the cookies of a rule may be seen. The rest stays as it was, octet by octet;
        "" if nothing is left.
        """
        kept: list[CookiePair] = []
        hidden: list[CookiePair] = []
        for pair in read_cookies(field):
            (kept if self._is_visible(pair, allows) else hidden).append(pair)
        return (";".join(pair.piece for pair in kept).lstrip(" ") if hidden else field), hidden

    def leftovers(
        self, field: str, allows: Callable[[CookieRule], bool]
    ) -> list[tuple[CookiePair, CookieRule | None]]:
        """The cookies of a request that have to go, each once, with their rules; None for undeclared ones."""
        found: dict[tuple[str, bool], tuple[CookiePair, CookieRule | None]] = {}
        for pair in read_cookies(field):
            rule = self._classify(pair.name)
            if pair.name in self._own_names or not pair.name:
                continue
            if self._expire_undeclared if rule is None else not allows(rule):
                found.setdefault((pair.name, "=" in pair.piece), (pair, rule))
        return list(found.values())

    def _is_visible(self, pair: CookiePair, allows: Callable[[CookieRule], bool]) -> bool:
        if pair.name in self._own_names:
            return True
        rule = self._classify(pair.name)
        if rule is not None:
            return allows(rule)
        return not self._hide_undeclared and all(map(allows, self._disguised(pair)))

    def _disguised(self, pair: CookiePair) -> list[CookieRule]:
        """The rules of what an app might find in an undeclared pair that it would be shown."""
        if self._hide_undeclared or pair.name in self._own_names or self._classify(pair.name):
            return []
        return [rule for name in names_seen(pair.piece) if (rule := self._classify(name))]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CookieKinds:
    """What the cookies of some names are, whoever sends them."""

    remembered: bool
    """Whether the same names get the same object again."""
    optional: tuple[CookieRule, ...]
    """The rules of the cookies that the visitor decides about."""
    hidden: bool
    """Whether there are undeclared cookies, and the registry hides them."""
    declared: frozenset[str]
    """The names of all the rules that they fall under."""
    undeclared: tuple[str, ...]
    """The names of those that fall under none."""


class CookieSurvey(NamedTuple):
    """What a `Cookie` value holds."""

    own: list[tuple[str, str]]
    """Names and values of consent cookies."""
    kinds: CookieKinds
    disguised: tuple[CookieRule, ...]
    """The rules of what some parsers would find in its undeclared cookies."""
    overflows: bool
    """Whether there are more pairs than are read: no browser's, so the app is shown none of them."""
    undeclared: tuple[str, ...]
    """The names of cookies that fall under no rule; not the text of nameless ones."""


def is_field_text(text: str) -> bool:
    """Whether a text can stand in a header field: octets, no controls but HTAB (RFC 9110, section 5.5)."""
    return _UNSAFE_FIELD.search(text) is None
