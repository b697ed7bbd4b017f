"""What is done with each cookie: decisions for Set-Cookie lines, and what a request shows to the app."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from .compiled import CompiledRegistry
from .fields import is_token
from .periods import Period
from .registry import CookieRule, Purpose
from .set_cookie import (
    MOST_PAIRS,
    Attributes,
    CookiePair,
    Life,
    SetCookie,
    names_seen,
    read_attributes,
    read_cookies,
    read_set_cookie,
)
from .visitor import VisitorView

Header = tuple[str, str]


class Action(StrEnum):
    """What becomes of a line."""

    KEEP = "keep"
    """It leaves, byte for byte."""
    DROP = "drop"
    """It does not leave."""
    SHORTEN = "shorten"
    """It leaves rewritten: its lifetime cut or made plain, a deletion anew, its attributes mended."""


class Reason(StrEnum):
    """Why."""

    ESSENTIAL = "essential"
    """Kept: needs no consent."""
    GRANTED = "granted"
    """Kept: the visitor agreed, or did not object where that suffices."""
    NOT_REFUSED = "not-refused"
    """Kept: the law model in force lets it be stored until the visitor refuses it."""
    UNDECLARED_KEPT = "undeclared-kept"
    """Kept: not in the registry, which keeps the unknown."""
    OWN = "own"
    """Kept: a consent cookie that verifies."""
    DELETION = "deletion"
    """Kept as it is, or written anew: takes a cookie away."""
    RAISED = "raised"
    """Rewritten, with attributes added that the registry demands."""
    REPEATED = "repeated"
    """Rewritten, with one `Domain`, `Path` and `SameSite` instead of several."""
    CAP = "cap"
    """Shortened to `max_lifetime`."""
    CONSENT_END = "consent-end"
    """Shortened to the end of the choice that allowed it."""
    MEASURING_END = "measuring-end"
    """Shortened to the end of the period of exempt measurement, which no visit prolongs."""
    RULE_LIFETIME = "rule-lifetime"
    """Shortened to the lifetime that its rule states."""
    AMBIGUOUS_LIFETIME = "ambiguous-lifetime"
    """Shortened to one lifetime that all browsers read alike."""
    UNDECLARED = "undeclared"
    """Dropped: not in the registry."""
    NOT_ASKED = "not-asked"
    """Dropped: the visitor has not answered yet, or the answer has ended."""
    REFUSED = "refused"
    """Dropped: the visitor said no to its purpose, vendor or name, or a signal did."""
    FORGED = "forged"
    """Dropped: the consent cookie's name with a value that we did not sign."""
    MALFORMED = "malformed"
    """Dropped: browsers would refuse the line or cut it somewhere."""
    NAMELESS = "nameless"
    """Dropped: comes back as a cookie of another name."""
    TOO_LARGE = "too-large"
    """Dropped: browsers would refuse it."""
    PREFIX = "prefix"
    """Dropped: browsers would refuse it, for its name demands attributes that it lacks."""
    FAILURE = "failure"
    """Dropped: we failed to judge it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one Set-Cookie line, and why. `rule` is None for an undeclared name.

    `before` is the value that the app sent, `after` the value that leaves, None for a drop. To replace a
    decision, give one with another action: what is kept without an `after` leaves as it came.
    """

    name: str
    action: Action
    reason: Reason
    rule: CookieRule | None
    before: str
    after: str | None

    @property
    def leaving(self) -> str | None:
        """The value that leaves, None if nothing does."""
        if self.action is Action.DROP:
            return None
        return self.before if self.after is None else self.after


class Moment(NamedTuple):
    """Under what a response is judged: the visitor, the time, and a fact about the answer."""

    view: VisitorView
    now: datetime
    sent: tuple[datetime | None, ...] = ()
    """What the response states as its `Date`, from which some browsers count `Expires`; None: unreadable."""


_STRICTNESS = {"none": 0, "": 0, "lax": 1, "strict": 2}
_BREAK = re.compile("[\r\n\0]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_UNSAFE_FIELD = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class Enforcer:
    """Decides cookie by cookie; built once from a registry.

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
        # Standings are themselves remembered, so most visitors' next answer finds theirs here.
        self._footing = lru_cache(4096)(self._work_out_footing)
        self._keep_unknown = registry.consent.unknown == "keep"
        self._hide_undeclared = registry.consent.undeclared_request != "keep"
        self._expire_undeclared = registry.consent.undeclared_request == "expire"
        self._cap = registry.consent.max_lifetime
        self.governed = frozenset(
            {"set-cookie", *(name.lower() for name in registry.consent.set_cookie_headers)}
        )
        """Names of the header fields that set cookies, in lower case."""
        self.signs = tuple(self.governed)
        """What makes the fields of a response worth a closer look, wherever it stands."""
        self.optional = tuple(
            (name, rule) for name, rule in compiled.optional_cookies.items() if "*" not in name
        )
        """The exact names that the visitor decides about, as they stand in header fields, and their rules."""
        self._demands = {
            rule.name: demands
            for rule in registry.cookies
            if (demands := _Demands.of(rule, registry.purposes[rule.purpose])) != _NO_DEMANDS
        }

    def decide(self, line: str, moment: Moment) -> Decision:
        """Judge one `Set-Cookie` value."""
        cookie = read_set_cookie(line)
        if cookie.flaw is not None:
            return _drop(cookie, Reason(cookie.flaw), None)
        life = cookie.attributes.life(moment.now, moment.sent)
        if cookie.name in self._own_names:
            return self._decide_own(cookie, life, moment)
        rule, refusal, kept_for = self._footing(cookie.name, moment.view)
        if life.deletes:
            if refusal is None and life.split and self._is_within(life, rule, moment):
                # To write it anew would take from some browsers what they keep, or let others keep it longer.
                return self._raised(_keep_deletion(cookie, rule), cookie)
            return _delete(cookie, rule, plain=refusal is None and life.clear)
        if refusal is not None:
            return _drop(cookie, refusal, rule)
        return self._raised(self._limited(cookie, life, rule, moment, kept_for), cookie)

    def _decide_own(self, cookie: SetCookie, life: Life, moment: Moment) -> Decision:
        if life.deletes:
            return _delete(cookie, None, plain=life.clear)
        if not self._verifies(cookie.value):
            return _drop(cookie, Reason.FORGED, None)
        return self._limited(cookie, life, None, moment, Reason.OWN)

    def _work_out_footing(self, name: str, view: VisitorView) -> "_Footing":
        rule = self._classify(name)
        return _Footing(rule, self._refusal(rule, view), self._kept_for(rule, view))

    def _refusal(self, rule: CookieRule | None, view: VisitorView) -> Reason | None:
        """Why cookies of this rule may not be stored, None if they may."""
        if rule is None:
            return None if self._keep_unknown else Reason.UNDECLARED
        if view.permissions.allows_rule(rule):
            return None
        return Reason.REFUSED if view.decided else Reason.NOT_ASKED

    def _limited(
        self,
        cookie: SetCookie,
        life: Life,
        rule: CookieRule | None,
        moment: Moment,
        kept_for: Reason,
    ) -> Decision:
        """Let an allowed cookie leave, within its limits."""
        if not life.clear or life.longest is not None:
            shortened = _shortened(cookie, life, self._limit(rule, moment), moment.now)
            if shortened is not None:
                return Decision(cookie.name, Action.SHORTEN, shortened[1], rule, cookie.line, shortened[0])
        if not cookie.attributes.repeated:
            return Decision(cookie.name, Action.KEEP, kept_for, rule, cookie.line, cookie.line)
        plain = cookie.session() if life.intended is None else cookie.lasting(int(life.intended), moment.now)
        return Decision(cookie.name, Action.SHORTEN, Reason.REPEATED, rule, cookie.line, plain)

    def _kept_for(self, rule: CookieRule | None, view: VisitorView) -> Reason:
        if rule is None:
            return Reason.UNDECLARED_KEPT
        if rule.purpose in self._compiled.essential:
            return Reason.ESSENTIAL
        unasked = view.ends is None and rule.purpose in self._compiled.by_consent
        return Reason.NOT_REFUSED if unasked else Reason.GRANTED

    def _limit(self, rule: CookieRule | None, moment: Moment) -> tuple[float | None, Reason]:
        """How many seconds a cookie may be kept from now, None for a session only; and what limits it."""
        ends = [(self._cap.after(moment.now), Reason.CAP)]
        if rule is not None:
            if rule.lifetime == "session":
                return None, Reason.RULE_LIFETIME
            if isinstance(rule.lifetime, Period):
                ends.append((rule.lifetime.after(moment.now), Reason.RULE_LIFETIME))
            if moment.view.ends and rule.purpose in self._compiled.by_consent:
                ends.append((moment.view.ends, Reason.CONSENT_END))
            if rule.purpose in self._compiled.by_objection and moment.view.measured_since:
                measuring_ends = self._compiled.measuring_ends(moment.view.measured_since)
                ends.append((measuring_ends, Reason.MEASURING_END))
        end, reason = min(ends)
        return (end - moment.now).total_seconds(), reason

    def _is_within(self, life: Life, rule: CookieRule | None, moment: Moment) -> bool:
        seconds, _ = self._limit(rule, moment)
        return seconds is not None and life.longest is not None and life.longest <= seconds

    def _raised(self, decision: Decision, cookie: SetCookie) -> Decision:
        demands = self._demands.get(decision.rule.name) if decision.rule else None
        if demands is None or decision.after is None:
            return decision
        after = demands.raise_(decision.after, cookie.attributes)
        if after == decision.after:
            return decision
        reason = Reason.RAISED if decision.action is Action.KEEP else decision.reason
        return Decision(decision.name, Action.SHORTEN, reason, decision.rule, decision.before, after)

    def filter(
        self, headers: Iterable[Header], moment: Moment, review: Callable[[Decision], Decision]
    ) -> tuple[list[Header], list[Decision]]:
        """Judge the header fields of one response, in order; what is not governed leaves as it came.

        `review` sees each decision and says which one holds. Returns the fields that leave and the
        decisions on those that were judged. What is no field never leaves: see `sendable`.
        """
        leaving: list[Header] = []
        decisions: list[Decision] = []
        for name, value in headers:
            if name.strip().lower() not in self.governed:
                leaving.extend(self.sendable(name, value))
                continue
            # A padded name is an attempt at a governed field that some servers trim and others send.
            judged = self.decide(value, moment) if is_token(name) else _malformed(value)
            decision = review(judged)
            decisions.append(decision)
            text = decision.leaving
            if text is not None and is_token(name) and (decision is judged or is_field_text(text)):
                leaving.append((name, text))
        return leaving, decisions

    def sendable(self, name: str, value: str) -> tuple[Header, ...]:
        """A field that is not governed as it can leave, or nothing: servers differ in what they check.

        A name that is no token could end in the middle (RFC 9110, section 5.1). CR, LF and NUL in a value
        become blanks (ditto, section 5.5); with a governed name behind them the field is given up.
        """
        if not is_token(name):
            return ()
        if _BREAK.search(value) is None:
            return ((name, value),)
        lower = value.lower()
        return () if any(sign in lower for sign in self.signs) else ((name, _BREAK.sub(" ", value)),)

    def survey(self, field: str) -> "CookieSurvey":
        """What a request's `Cookie` value holds, whoever the visitor is."""
        pairs = read_cookies(field)
        names = {pair.name for pair in pairs}
        # The text of a nameless cookie is a value, which is told to nobody.
        nameless = {pair.name for pair in pairs if "=" not in pair.piece}
        rules = {name: self._classify(name) for name in names - self._own_names}
        return CookieSurvey(
            own=tuple(pair for pair in pairs if pair.name in self._own_names),
            optional=tuple(
                rule for rule in rules.values() if rule and rule.purpose not in self._compiled.essential
            ),
            disguised=tuple({rule for pair in pairs for rule in self._disguised(pair)}),
            hidden=self._hide_undeclared and None in rules.values(),
            overflows=field.count(";") >= MOST_PAIRS,
            declared=frozenset(rule.name for rule in rules.values() if rule),
            undeclared=tuple(
                sorted(name for name, rule in rules.items() if not rule and name and name not in nameless)
            ),
        )

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


class CookieSurvey(NamedTuple):
    """What a `Cookie` value holds."""

    own: tuple[CookiePair, ...]
    """Consent cookies."""
    optional: tuple[CookieRule, ...]
    """The rules of the cookies that the visitor decides about."""
    disguised: tuple[CookieRule, ...]
    """The rules of what some parsers would find in its undeclared cookies."""
    hidden: bool
    """Whether there are undeclared cookies, and the registry hides them."""
    overflows: bool
    """Whether there are more pairs than are read: no browser's, so the app is shown none of them."""
    declared: frozenset[str]
    """The names of all the rules that its cookies fall under."""
    undeclared: tuple[str, ...]
    """The names of cookies that fall under none."""


class _Footing(NamedTuple):
    """Where cookies of one name stand with one visitor, whatever else their lines say."""

    rule: CookieRule | None
    refusal: Reason | None
    """Why they may not be stored, None if they may."""
    kept_for: Reason
    """Why they are kept, if they are."""


@dataclass(frozen=True, slots=True)
class _Demands:
    """Attributes that a cookie must have; what it has already is never weakened."""

    secure: bool
    httponly: bool
    samesite: str

    @classmethod
    def of(cls, rule: CookieRule, purpose: Purpose) -> "_Demands":
        return cls(
            secure=purpose.secure if rule.secure is None else rule.secure,
            httponly=purpose.httponly if rule.httponly is None else rule.httponly,
            samesite=rule.samesite or purpose.samesite or "none",
        )

    def raise_(self, line: str, attributes: Attributes) -> str:
        """The line with what it lacks, in front: WebKitGTK stops reading at an octet that is not ASCII."""
        head, *pieces = line.split(";")
        seen = _seen_everywhere(pieces, attributes)
        raised = []
        if self.secure and not seen.secure:
            raised.append(" Secure")
        if self.httponly and not seen.httponly:
            raised.append(" HttpOnly")
        if _strictness(self.samesite) > min(_strictness(attributes.samesite), _strictness(seen.samesite)):
            strictest = max(self.samesite, attributes.samesite, key=_strictness)
            raised.append(f" SameSite={strictest.title()}")
            pieces = [piece for piece in pieces if piece.partition("=")[0].strip().lower() != "samesite"]
        return ";".join([head, *raised, *pieces])


def _strictness(samesite: str) -> int:
    return _STRICTNESS.get(samesite, 0)


def _seen_everywhere(pieces: list[str], attributes: Attributes) -> Attributes:
    """The attributes that stand before the first octet that is not ASCII."""
    tail = ";".join(pieces)
    return attributes if tail.isascii() else read_attributes(_NOT_ASCII.split(tail, maxsplit=1)[0])


_NO_DEMANDS = _Demands(secure=False, httponly=False, samesite="none")


def _drop(cookie: SetCookie, reason: Reason, rule: CookieRule | None) -> Decision:
    return Decision(cookie.name, Action.DROP, reason, rule, cookie.line, None)


def _delete(cookie: SetCookie, rule: CookieRule | None, *, plain: bool) -> Decision:
    if plain:
        return _keep_deletion(cookie, rule)
    return Decision(cookie.name, Action.SHORTEN, Reason.DELETION, rule, cookie.line, cookie.deletion())


def _keep_deletion(cookie: SetCookie, rule: CookieRule | None) -> Decision:
    return Decision(cookie.name, Action.KEEP, Reason.DELETION, rule, cookie.line, cookie.line)


def _shortened(
    cookie: SetCookie, life: Life, limit: tuple[float | None, Reason], now: datetime
) -> tuple[str, Reason] | None:
    """The line within its limit and why it had to change; None if it may leave as it is."""
    seconds, reason = limit
    if life.clear and (life.longest is None or (seconds is not None and life.longest <= seconds)):
        return None
    if seconds is None or life.intended is None:
        return cookie.session(), reason if seconds is None else Reason.AMBIGUOUS_LIFETIME
    if life.intended <= seconds:
        return cookie.lasting(int(life.intended), now), Reason.AMBIGUOUS_LIFETIME
    return cookie.lasting(int(seconds), now), reason


def is_field_text(text: str) -> bool:
    """Whether a text can stand in a header field: octets, no controls but HTAB (RFC 9110, section 5.5)."""
    return _UNSAFE_FIELD.search(text) is None


def _malformed(line: str) -> Decision:
    return _drop(read_set_cookie(line), Reason.MALFORMED, None)
