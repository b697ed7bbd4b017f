"""Header fields in, header fields and decisions out; a request's cookies in, what the app may see out."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from .compiled import CompiledRegistry
from .consent import utc_day
from .deletion import UnwantedCookie
from .header_fields import BREAKS, Field, FieldKind, as_text, without_breaks
from .permissions import Permissions
from .registry import LONGEST_REMEMBERED, CookieRule
from .set_cookie import BEFORE_DATE, LONGEST_PAIR, MOST_PAIRS, cut_date, flaw_of, names_seen, read_attributes
from .structured_fields import is_token
from .verdict import NO_DEMANDS, Action, Decision, Demands, Limits, Reason, ResponseContext, Verdict
from .visitor import VisitorView

_DAY = timedelta(days=1)
_BLANKS = " \t"
# The constructor of a named tuple is a Python function; this is the one that it calls.
_new: Any = tuple.__new__
# In Python 3.11 each look at an enum's member by its class costs as much as ten at a name.
_PLAIN, _GOVERNED, _PADDED = FieldKind.PLAIN, FieldKind.GOVERNED, FieldKind.PADDED
_TYPE, _NONE = FieldKind.TYPE, FieldKind.NONE
_PASSING = (_PLAIN, _TYPE)
_MOST_REMEMBERED = 4096
_MOST_FIELDS = 1024


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


Review = Callable[[Judged, ResponseContext], Judged]
"""Says what becomes of a line, after what we made of it."""


class Filtered(NamedTuple):
    """The header fields of a response that may leave, and what was seen of them."""

    leaving: list[Field]
    judged: list[Judged]
    kinds: list[FieldKind]
    """The kinds of its fields that later stages look for."""


class CookiesSeen(NamedTuple):
    """What a request's cookies are for one visitor."""

    visible: str
    """The `Cookie` value as the app may see it, octet by octet; "" if nothing is left."""
    unwanted: tuple[UnwantedCookie, ...]
    """The cookies that have to go, each once."""
    arrived: tuple[CookieRule, ...]
    """The rules of allowed cookies that were not told of today."""
    unaged: tuple[CookieRule, ...]
    """The rules of allowed cookies of exempt measurement that are deleted, for nobody knows their age."""
    undeclared: tuple[str, ...]
    """The names of cookies that fall under no rule; not the text of nameless ones, which is a value."""
    unwanted_names: tuple[str, ...] | None = None
    """The names of those that have to go, where these names alone tell which they are, and are short."""


class Shown(NamedTuple):
    """Which pairs of `Cookie` values with the same names the app may see, and what has to go."""

    kept: tuple[int, ...]
    unwanted: tuple[UnwantedCookie, ...]
    unwanted_names: tuple[str, ...]


class Remembered:
    """What was decided under the same permissions on one day: about lines, and about cookies of requests."""

    __slots__ = ("hidden", "shown", "since", "until", "verdicts", "visible")

    def __init__(self, now: datetime, own_names: frozenset[str]) -> None:
        self.since = utc_day(now)
        self.until = self.since + _DAY
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        """By name and attributes, dates cut out."""
        self.visible = set(own_names)
        """Names of cookies that the app may see, whatever their values, and that were told of today."""
        self.hidden: dict[str, UnwantedCookie] = {}
        """Cookies that it may not see, by their names."""
        self.shown: dict[tuple[str, ...], Shown] = {}
        """What the app may see of `Cookie` values that are hidden in part, by the names in them."""


class _Kinds(dict[Any, FieldKind]):
    """What fields are, by their names as they come; bounded."""

    def __init__(self, kind_of: Callable[[str | bytes], FieldKind]) -> None:
        super().__init__()
        self._kind_of = kind_of

    def __missing__(self, name: str | bytes) -> FieldKind:
        kind = self._kind_of(name)
        if len(name) <= LONGEST_REMEMBERED and len(self) < _MOST_FIELDS:
            self[name] = kind
        return kind


class Filter:
    """Judges cookie by cookie; built once from a registry.

    `own_names` are those of the consent cookie, `verifies` tells whether we signed a value of it. `kind_of`
    tells what another header field is for the stages behind this one, by its name in lower case.
    """

    def __init__(
        self,
        compiled: CompiledRegistry,
        own_names: frozenset[str],
        verifies: Callable[[str], bool],
        kind_of: Callable[[str], FieldKind] = lambda _: FieldKind.PLAIN,
    ) -> None:
        registry = compiled.registry
        self.compiled = compiled
        self._own_names = own_names
        self._verifies = verifies
        self.classify = registry.classify
        self._remembered: tuple[dict[Permissions, Remembered], ...] = ({}, {})
        self._count = 0
        self._keep_unknown = registry.consent.unknown == "keep"
        self.hides_undeclared = registry.consent.undeclared_request != "keep"
        self.expires_undeclared = registry.consent.undeclared_request == "expire"
        self.governed = frozenset({"set-cookie", *map(str.lower, registry.consent.set_cookie_headers)})
        """Names of the header fields that set cookies, in lower case."""
        self._kind_of_other = kind_of
        self._kinds = _Kinds(self.kind_of)
        self.optional = tuple(
            (name, rule) for name, rule in compiled.optional_cookies.items() if "*" not in name
        )
        """The exact names that the visitor decides about, as they stand in header fields, and their rules."""
        self._demands = {
            rule.name: demands
            for rule in registry.cookies
            if (demands := Demands.of(rule, registry.purposes[rule.purpose])) != NO_DEMANDS
        }

    def today(self, view: VisitorView, now: datetime) -> Remembered:
        """What was decided today under these permissions: calendar months are as long all day.

        Visitors of whom nobody knows since when they are measured are apart.
        """
        found = self._remembered[view.measured_since is None].get(view.permissions)
        if found is not None and found.since <= now < found.until:
            return found
        self.make_room()
        found = Remembered(now, self._own_names)
        self._remembered[view.measured_since is None][view.permissions] = found
        return found

    def make_room(self) -> None:
        """Count one more thing that is remembered; forget all when there are too many."""
        self._count += 1
        if self._count > _MOST_REMEMBERED:
            self._remembered, self._count = ({}, {}), 1

    def judge(self, line: str, context: ResponseContext) -> Judged:
        """Judge one `Set-Cookie` value."""
        return self._judge(line, context, self.today(context.view, context.now))

    def judge_review(self, line: str, context: ResponseContext) -> Judged:
        """Judge what a site's hook lets leave: as a line of the app's, but undeclared names it may keep."""
        one = self.judge(line, context)
        if one.reason is not Reason.UNDECLARED:
            return one
        verdict = msgspec.structs.replace(one.verdict, refusal=None, fixed=None)
        head, _, tail = line.partition(";")
        after, reason = verdict.judge_odd(line, head, cut_date(tail)[1], context)
        return one._replace(after=after, reason=reason)

    def _judge(self, line: str, context: ResponseContext, remembered: Remembered) -> Judged:
        head, _, tail = line.partition(";")
        name, equals, _ = head.partition("=")
        name = name.strip(_BLANKS) if equals else ""
        end = None
        if BEFORE_DATE in tail:
            tail, end = cut_date(tail)
        verdict = remembered.verdicts.get((name, tail)) or self._verdict(name, tail, context, remembered)
        # Nearly every line is printable ASCII, which the built-in checks see at a tenth of the cost.
        is_plain = len(head) <= LONGEST_PAIR and line.isascii() and line.isprintable()
        if is_plain and verdict.fixed is not None:
            after, reason = verdict.fixed
            after = line if after == "" else after
        elif is_plain:
            after, reason = verdict.judge(line, head, end, context)
        else:
            after, reason = verdict.judge_odd(line, head, end, context)
        judged: Judged = _new(Judged, (verdict, line, after, reason))
        return judged

    def _verdict(self, name: str, tail: str, context: ResponseContext, remembered: Remembered) -> Verdict:
        """Work out the verdict on a name with these attributes; it is remembered if they are not too long."""
        attributes, permissions = read_attributes(tail), context.view.permissions
        own = name in self._own_names
        rule = None if own else self.classify(name)
        flaw = flaw_of(name, attributes)
        optional = not flaw and rule is not None and rule.purpose not in self.compiled.essential
        refusal, kept_for = (None, Reason.OWN) if own else self._standing(rule, permissions)
        verdict = Verdict(
            name=name,
            rule=None if flaw else rule,
            attributes=attributes,
            flaw=flaw,
            refusal=refusal,
            kept_for=kept_for,
            is_optional=optional,
            is_personal=own or optional,
            limits=Limits.of(rule, self.compiled, context.now),
            demands=self._demands.get(rule.name) if rule else None,
            verifies=self._verifies if own else None,
        ).with_fixed(tail)
        if len(name) + len(tail) <= LONGEST_REMEMBERED:
            self.make_room()
            remembered.verdicts[name, tail] = verdict
        return verdict

    def _standing(self, rule: CookieRule | None, permissions: Permissions) -> tuple[Reason | None, Reason]:
        """Why cookies of this rule may not be stored, None if they may; and why they are kept, if so."""
        return self._refusal(rule, permissions), self._kept_for(rule, permissions)

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
        if rule.purpose in self.compiled.essential:
            return Reason.ESSENTIAL
        by_law = permissions.by_default and rule.purpose in self.compiled.by_consent
        return Reason.NOT_REFUSED if by_law else Reason.GRANTED

    def filter(
        self,
        fields: Sequence[Field],
        view: VisitorView,
        now: datetime,
        remembered: Remembered,
        review: Review | None = None,
        *,
        octets: bool = False,
    ) -> Filtered:
        """Judge the header fields of one response, in order; what is not governed leaves as it came.

        The fields are tuples, all of text or all of octets; TypeError or ValueError for others. `remembered`
        is that of `today`. `review` sees each line with what becomes of it, and says what does. What is no
        field never leaves: see `sendable`.
        """
        filtered: Filtered = _new(Filtered, ([], [], []))
        leaving, kinds, exact = filtered.leaving, self._kinds, (str, bytes)[octets]
        context: ResponseContext = _new(ResponseContext, (view, now, fields, []))
        line_feed, carriage_return, null = BREAKS[octets]
        for field in fields:
            if type(field) is not tuple:
                raise TypeError("a header field is no tuple")
            name, value = field
            # What inherits from these types can say one thing when asked and another when sent.
            if type(name) is not exact or type(value) is not exact:
                raise TypeError("a header field is not of the door's type")
            kind = kinds[name]
            broken = line_feed in value or carriage_return in value or null in value
            if kind in _PASSING and not broken:
                leaving.append((name, value))
            elif kind is _GOVERNED:
                self._add_cookie(field, filtered, context, remembered, review)
            else:
                self._add_special(kind, field, filtered, context, remembered, review)
        return filtered

    def _add_cookie(
        self,
        field: Field,
        filtered: Filtered,
        context: ResponseContext,
        remembered: Remembered,
        review: Review | None,
    ) -> None:
        """Judge a line, and add what leaves of it."""
        name, value = field
        octets = type(value) is bytes
        line = value.decode("latin-1") if octets else value
        one = self._judge(line, context, remembered)
        if review is not None:
            one = review(one, context)
        filtered.judged.append(one)
        after = one.after
        if after is line:
            filtered.leaving.append(field)
        elif after is not None:
            filtered.leaving.append((name, after.encode("latin-1") if octets else after))

    def _judge_padded(
        self, line: str, context: ResponseContext, remembered: Remembered, review: Review | None
    ) -> Judged:
        """A line in a field whose name is only nearly one that sets cookies: no hook brings it back."""
        one = self._judge(line, context, remembered)._replace(after=None, reason=Reason.MALFORMED)
        if review is not None:
            review(one, context)
        return one

    def _add_special(
        self,
        kind: FieldKind,
        field: Field,
        filtered: Filtered,
        context: ResponseContext,
        remembered: Remembered,
        review: Review | None,
    ) -> None:
        """Add a field that later stages look for, or one that does not leave as it is."""
        name, value = field
        if kind is _PADDED:
            filtered.judged.append(self._judge_padded(as_text(value), context, remembered, review))
            return
        if kind not in _PASSING:
            filtered.kinds.append(kind)
        if kind is _NONE:
            return
        if any(map(value.__contains__, BREAKS[type(value) is bytes])):
            filtered.leaving.extend(self.sendable(name, value))
        else:
            filtered.leaving.append(field)

    def types_in(self, fields: Sequence[Field]) -> list[str | bytes]:
        """The values of `Content-Type` fields."""
        kinds = self._kinds
        return [value for name, value in fields if kinds[name] is _TYPE]

    def kind_of(self, name: str | bytes) -> FieldKind:
        """What a field is, by its name."""
        text = name if isinstance(name, str) else name.decode("latin-1")
        governed = text.strip().lower() in self.governed
        if is_token(text):
            return FieldKind.GOVERNED if governed else self._kind_of_other(text.lower())
        return FieldKind.PADDED if governed else FieldKind.NONE

    def sendable(self, name: str | bytes, value: str | bytes) -> tuple[Field, ...]:
        """A field with CR, LF or NUL in its value as it can leave, or nothing.

        Servers differ in what they check. The three become blanks; with a governed name behind them the field
        is given up.
        """
        text = value if isinstance(value, str) else value.decode("latin-1")
        if any(sign in text.lower() for sign in self.governed):
            return ()
        safe = without_breaks(text)
        return ((name, safe if isinstance(value, str) else safe.encode("latin-1")),)

    def cookies_seen(
        self, field: str, names: list[str], view: VisitorView, now: datetime, *, same_site: bool
    ) -> CookiesSeen:
        """What a request's `Cookie` value holds for one visitor; `names` are those of `split_cookies`.

        `same_site` says whether the request demonstrably comes from this site: only then a cookie of exempt
        measurement can be told to be of unknown age, and only then it is noted which cookies come.
        """
        remembered = self.today(view, now)
        shown = remembered.shown.get(tuple(names))
        if shown is None:
            return _CookieReader(self, view, remembered, same_site=same_site).read(field, names)
        pieces = field.split(";")
        text = ";".join([pieces[index] for index in shown.kept]).lstrip(" ")
        seen: CookiesSeen = _new(CookiesSeen, (text, shown.unwanted, (), (), (), shown.unwanted_names))
        return seen


class _CookieReader:
    """Reads the `Cookie` value of one request, pair by pair."""

    def __init__(self, by: Filter, view: VisitorView, remembered: Remembered, *, same_site: bool) -> None:
        self._by, self._view, self._remembered, self._same_site = by, view, remembered, same_site
        self._unwanted: dict[tuple[str, bool], UnwantedCookie] = {}
        self._arrived: list[CookieRule] = []
        self._unaged: list[CookieRule] = []
        self._undeclared: list[str] = []
        self._repeats = True
        """Whether all was known by its name, so that the same names have the same outcome today."""

    def read(self, field: str, names: list[str]) -> CookiesSeen:
        """Read the pairs between `;`, `MOST_PAIRS` at most: behind them the app is shown none at all."""
        pieces = field.split(";", MOST_PAIRS)
        kept = [i for i, piece in enumerate(pieces[:MOST_PAIRS]) if self._shows(names[i], piece)]
        text = ";".join([pieces[i] for i in kept]).lstrip(" ") if len(kept) < len(pieces) else field
        seen = CookiesSeen(
            "" if len(pieces) > MOST_PAIRS else text,
            tuple(self._unwanted.values()),
            tuple(self._arrived),
            tuple(self._unaged),
            tuple(self._undeclared),
        )
        if self._repeats and len(kept) < len(pieces) and sum(map(len, names)) <= LONGEST_REMEMBERED:
            self._by.make_room()
            unwanted_names = tuple([cookie.name for cookie in seen.unwanted])
            self._remembered.shown[tuple(names)] = Shown(tuple(kept), seen.unwanted, unwanted_names)
        return seen

    def _shows(self, name: str, piece: str) -> bool:
        if name in self._remembered.visible:
            return True
        hidden = self._remembered.hidden.get(name)
        if hidden is not None:
            self._unwanted[name, True] = hidden
            return False
        self._repeats = False
        named = not name.endswith(" ")
        return self._is_shown(name.rstrip(" "), piece, named=named)

    def _is_shown(self, name: str, piece: str, *, named: bool) -> bool:
        rule = self._by.classify(name)
        if rule is None:
            return self._is_undeclared_shown(name, piece, named=named)
        if self._view.permissions.allows_rule(rule):
            return self._is_allowed_shown(name, rule, named=named)
        self._hide(name, rule, named=named)
        return False

    def _is_allowed_shown(self, name: str, rule: CookieRule, *, named: bool) -> bool:
        """Whether the app may see an allowed cookie: not one of exempt measurement whose age nobody knows.

        To let it go on could be to prolong it: it is deleted, and measurement begins anew.
        """
        if not self._same_site:
            return True
        self._arrived.append(rule)
        if rule.purpose in self._by.compiled.by_objection and not self._view.measured_since:
            self._unaged.append(rule)
            self._want_away(UnwantedCookie(name, named, rule))
            return False
        if named and len(name) <= LONGEST_REMEMBERED:
            self._by.make_room()
            self._remembered.visible.add(name)
        return True

    def _want_away(self, cookie: UnwantedCookie) -> None:
        if cookie.name:
            # What has no name at all, no line can name.
            self._unwanted[cookie.name, cookie.named] = cookie

    def _hide(self, name: str, rule: CookieRule, *, named: bool) -> None:
        unwanted = UnwantedCookie(name, named, rule)
        self._want_away(unwanted)
        if name and named and len(name) <= LONGEST_REMEMBERED:
            self._by.make_room()
            self._remembered.hidden[name] = unwanted

    def _is_undeclared_shown(self, name: str, piece: str, *, named: bool) -> bool:
        """Whether the app may see an undeclared pair: not where parsers would show a refused cookie in it."""
        if name and named and self._same_site:
            self._undeclared.append(name)
        if self._by.expires_undeclared:
            self._want_away(UnwantedCookie(name, named))
        if self._by.hides_undeclared:
            return False
        found = filter(None, map(self._by.classify, names_seen(piece)))
        return all(self._view.permissions.allows_rule(rule) and not self._is_unaged(rule) for rule in found)

    def _is_unaged(self, rule: CookieRule) -> bool:
        measured = rule.purpose in self._by.compiled.by_objection
        return measured and self._same_site and not self._view.measured_since


def split_cookies(field: str, own_names: frozenset[str]) -> tuple[list[str], list[str]]:
    """The names of the cookies of a `Cookie` value, pair by pair, and the values of our own.

    Names lose SP and HTAB alone, as in browsers: what else stands beside a name is a part of it. A pair
    without `=` is a nameless cookie: its name is its text, since that is how the app will see a nameless
    cookie that impersonates a named one, and a blank behind it, which no other name has.
    """
    names: list[str] = []
    own: list[str] = []
    for piece in field.split(";", MOST_PAIRS):
        name, equals, value = piece.partition("=")
        name = name.strip(_BLANKS)
        if name in own_names:
            own.append(value.strip(_BLANKS))
        names.append(name if equals else f"{name} ")
    return names, own
