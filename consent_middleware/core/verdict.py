"""What is decided about a Set-Cookie line, and why.

A verdict is everything that can be decided from a cookie's name and attributes, for all visitors who chose
alike and for one day: nearly every line of a site finds its verdict made. What the value decides, and what
depends on the seconds that are left, is looked at every time.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from .compiled import CompiledRegistry
from .header_fields import Field, as_text, is_field_text
from .periods import Period
from .registry import LONGEST_REMEMBERED, CookieRule, Purpose
from .set_cookie import (
    LONGEST_PAIR,
    Attributes,
    Flaw,
    Life,
    cookie_date,
    deletion,
    lasting,
    read_attributes,
    value_of,
)
from .visitor import VisitorView


class Action(StrEnum):
    """What becomes of a line."""

    KEEP = "keep"
    """It leaves, byte for byte."""
    DROP = "drop"
    """It does not leave."""
    REWRITE = "rewrite"
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

    def __repr__(self) -> str:
        rule = None if self.rule is None else self.rule.name
        return f"Decision({self.name!r}, {self.action}, {self.reason}, rule={rule!r})"

    @property
    def leaving(self) -> str | None:
        """The value that leaves, None if nothing does."""
        if self.action is Action.DROP:
            return None
        return self.before if self.after is None else self.after


class ResponseContext(NamedTuple):
    """Under what a response is judged: the visitor, the time, and its header fields."""

    view: VisitorView
    now: datetime
    fields: Sequence[Field]
    remembered: list[tuple[datetime | None, ...]]
    """`sent`, once it was worked out."""

    @classmethod
    def of(cls, view: VisitorView, now: datetime, fields: Sequence[Field] = ()) -> "ResponseContext":
        """The context of a response that has these fields."""
        made: ResponseContext = tuple.__new__(cls, (view, now, fields, []))
        return made

    @property
    def sent(self) -> tuple[datetime | None, ...]:
        """What the response states as its `Date`, from which some browsers count `Expires`; None: unreadable.

        There may be several. Only lines with a date ask for it.
        """
        if not self.remembered:
            stated = [field[1] for field in self.fields if len(field[0]) == 4 and _is_date(field[0])]
            self.remembered.append(tuple([cookie_date(as_text(date)) for date in stated]))
        return self.remembered[0]


def _is_date(name: str | bytes) -> bool:
    return as_text(name).lower() == "date"


# In Python 3.11 each look at an enum's member by its class costs as much as ten at a name.
_CONSENT_END = Reason.CONSENT_END
_STRICTNESS = {"none": 0, "": 0, "lax": 1, "strict": 2}
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_FLAWS_BEFORE_SIZE = frozenset({Flaw.MALFORMED, Flaw.NAMELESS})

Outcome = tuple[str | None, Reason]
"""The value that leaves, None if none does, and why."""


class Demands(NamedTuple):
    """Attributes that a cookie must have; what it has already is never weakened."""

    secure: bool
    httponly: bool
    samesite: str

    @classmethod
    def of(cls, rule: CookieRule, purpose: Purpose) -> "Demands":
        """What a rule demands, or its purpose where the rule is silent."""
        return cls(
            secure=purpose.secure if rule.secure is None else rule.secure,
            httponly=purpose.httponly if rule.httponly is None else rule.httponly,
            samesite=rule.samesite or purpose.samesite or "none",
        )

    def raise_(self, tail: str, attributes: Attributes) -> str:
        """The attributes of a line with what they lack, in front.

        WebKitGTK stops reading at an octet that is not ASCII. `tail` begins with `;`, or is empty.
        """
        pieces = tail.split(";")[1:]
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
        return "".join(f";{piece}" for piece in (*raised, *pieces))


def _strictness(samesite: str) -> int:
    return _STRICTNESS.get(samesite, 0)


def _seen_everywhere(pieces: list[str], attributes: Attributes) -> Attributes:
    """The attributes that stand before the first octet that is not ASCII."""
    tail = ";".join(pieces)
    return attributes if tail.isascii() else read_attributes(_NOT_ASCII.split(tail, maxsplit=1)[0])


NO_DEMANDS = Demands(secure=False, httponly=False, samesite="none")


class Verdict(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that is decided about lines of one name and one set of attributes, but for value and time."""

    name: str
    rule: CookieRule | None
    attributes: Attributes
    """Those of each such line, but for its date."""
    flaw: Flaw | None
    """What browsers would make of the name with these attributes."""
    refusal: Reason | None
    """Why such cookies may not be stored, None if they may."""
    kept_for: Reason
    """Why they are kept, if they are."""
    is_optional: bool
    """Whether the visitor decides about them."""
    is_personal: bool
    """Whether an answer with which such a line leaves depends on who asks."""
    limits: "Limits"
    demands: Demands | None
    verifies: Callable[[str], bool] | None = None
    """For the consent cookie: whether we signed a value."""
    fixed: Outcome | None = None
    """What becomes of every such line, whatever its value and the time; the line itself stands as ""."""
    is_simple: bool = False
    """Whether a clear lifetime is all there is to look at in such a line."""
    asks: float | None = None
    """The seconds that each simple line asks for; None for a session, and where its date says it."""

    @property
    def is_short(self) -> bool:
        """Whether it may be remembered: strangers and apps can make up names and attributes without end."""
        return len(self.name) + len(self.attributes.rest) <= LONGEST_REMEMBERED

    def with_fixed(self, tail: str) -> "Verdict":
        """The verdict with what is fixed worked out; `tail` is what stands behind the `;` of its lines."""
        attributes, life = self.attributes, self.attributes.timeless
        simple = attributes.clear and not any((attributes.repeated, self.demands, self.verifies, self.flaw))
        asks = life.intended if life is not None and simple else None
        return msgspec.structs.replace(
            self, fixed=self._fixed(tail), is_simple=simple, asks=asks if asks and asks > 0 else None
        )

    def _fixed(self, tail: str) -> Outcome | None:
        life = self.attributes.timeless
        if self.flaw is not None:
            return None, Reason(self.flaw)
        if life is None:
            return None
        if life.deletes:
            plain = self.refusal is None and life.clear
            return ("" if plain else deletion(self.name, self.attributes)), Reason.DELETION
        if self.refusal is not None:
            return None, self.refusal
        return ("", self.kept_for) if self._always_stays(life, tail) else None

    def _always_stays(self, life: Life, tail: str) -> bool:
        """Whether every such line leaves as it is."""
        if self.verifies or self.attributes.repeated or not life.clear:
            return False
        if self.demands is not None and tail != self.demands.raise_(f";{tail}", self.attributes)[1:]:
            return False
        return self.limits.never_cut(life.longest)

    def judge(self, line: str, head: str, end: datetime | None, context: ResponseContext) -> Outcome:
        """What becomes of one line, and why.

        `head` is its name and value as they stand in it, `end` its date where that was cut from the
        attributes. It is printable ASCII, with a name and a value that are not too long: see `judge_odd`.
        """
        if self.fixed is not None:
            return self.fixed if self.fixed[0] != "" else (line, self.fixed[1])
        asks = self.asks if end is None else self._asks_until(end, context)
        if asks is not None:
            return self._limited(line, head, asks, context)
        return self._judge_by_life(line, head, end, context)

    def _asks_until(self, end: datetime, context: ResponseContext) -> float | None:
        """How long a simple line with this date asks to be kept; None where there is more to look at."""
        if not self.is_simple or self.attributes.ages or context.sent:
            return None
        seconds = (end - context.now).total_seconds()
        return seconds if seconds > 0 else None

    def _judge_by_life(self, line: str, head: str, end: datetime | None, context: ResponseContext) -> Outcome:
        attributes = self.attributes
        if end is not None and not attributes.clear:
            # There is another date or lifetime beside the one that was cut.
            attributes, end = read_attributes(line.partition(";")[2]), None
        life = attributes.timeless or attributes.life(context.now, context.sent, end)
        return self._judge_now(line, head, life, context)

    def _limited(self, line: str, head: str, asks: float, context: ResponseContext) -> Outcome:
        """A simple line that asks to be kept so many seconds."""
        if self.refusal is not None:
            return None, self.refusal
        seconds, reason, end = self.limits.at(context.view, context.now)
        if seconds is None or seconds < 1:
            return self._rewritten(head, seconds, context.now), reason
        if asks <= seconds:
            return line, self.kept_for
        return lasting(head + self.attributes.rest, int(seconds), context.now, end), reason

    def judge_odd(self, line: str, head: str, end: datetime | None, context: ResponseContext) -> Outcome:
        """The same for any line."""
        flaw = self._flaw_of_value(line, head)
        return self.judge(line, head, end, context) if flaw is None else (None, flaw)

    def _flaw_of_value(self, line: str, head: str) -> Reason | None:
        """What the value makes of a line that browsers would else store."""
        if not is_field_text(line):
            return Reason.MALFORMED
        too_large = len(self.name) + len(value_of(head)) > LONGEST_PAIR
        return Reason.TOO_LARGE if too_large and self.flaw not in _FLAWS_BEFORE_SIZE else None

    def _judge_now(self, line: str, head: str, life: Life, context: ResponseContext) -> Outcome:
        limit = self.limits.at(context.view, context.now)
        if life.intended is not None and life.intended <= 0:
            return self._deleted(line, head, life, limit)
        if self.refusal is not None:
            return None, self.refusal
        if self.verifies is not None and not self.verifies(value_of(head)):
            return None, Reason.FORGED
        return self._within_limit(line, head, life, limit, context.now)

    def _deleted(self, line: str, head: str, life: Life, limit: "Limit") -> Outcome:
        allowed = self.refusal is None
        if allowed and self.verifies is None and life.split and _is_within(life, limit):
            # To write it anew would take from some browsers what they keep, or let others keep it longer.
            return self._kept(line, head, Reason.DELETION)
        return (line if allowed and life.clear else deletion(self.name, self.attributes)), Reason.DELETION

    def _within_limit(self, line: str, head: str, life: Life, limit: "Limit", now: datetime) -> Outcome:
        """An allowed line whose lifetime is within the limit, or has to be made plain."""
        (seconds, reason, end), intended = limit, life.intended
        if life.clear and (life.longest is None or (seconds is not None and life.longest <= seconds)):
            if not self.attributes.repeated:
                return self._kept(line, head, self.kept_for)
            return self._rewritten(head, intended, now), Reason.REPEATED
        if seconds is None:
            return self._rewritten(head, None, now), reason
        if intended is None or intended <= seconds:
            return self._rewritten(head, intended, now), Reason.AMBIGUOUS_LIFETIME
        return self._rewritten(head, seconds, now, end), reason

    def _kept(self, line: str, head: str, reason: Reason) -> Outcome:
        if self.demands is None:
            return line, reason
        after = head + self.demands.raise_(line[len(head) :], self.attributes)
        return (line, reason) if after == line else (after, Reason.RAISED)

    def _rewritten(self, head: str, seconds: float | None, now: datetime, end: datetime | None = None) -> str:
        """The line with one lifetime that all browsers read alike, or none; `end` where it is a known date.

        Under a second there is none to give: that is a deletion, which every browser would make of it.
        """
        rest = self.attributes.rest
        if self.demands is not None:
            rest = self.demands.raise_(rest, self.attributes)
        if seconds is None:
            return head + rest
        whole = int(seconds)
        if whole <= 0:
            return deletion(self.name, self.attributes)
        return lasting(head + rest, whole, now, end)


Limit = tuple[float | None, Reason, datetime | None]
"""How many seconds a cookie may be kept from now, None for a session only; what limits it; and when that is,
where it is the same date at any moment."""


def _is_within(life: Life, limit: Limit) -> bool:
    seconds = limit[0]
    return seconds is not None and life.longest is not None and life.longest <= seconds


class Limits(NamedTuple):
    """What limits the life of cookies of one rule, for one day: calendar months are as long all day."""

    compiled: CompiledRegistry
    of_the_day: Limit
    """The cap and the rule's own lifetime."""
    by_choice: bool = False
    """Whether they end with the choice that allowed them."""
    by_measurement: bool = False
    """Whether they end with the period of exempt measurement."""

    @classmethod
    def of(cls, rule: CookieRule | None, compiled: CompiledRegistry, now: datetime) -> "Limits":
        """The limits of a rule's cookies, None for those of undeclared ones."""
        ends = [(compiled.registry.consent.max_lifetime.after(now), Reason.CAP)]
        if rule is None:
            return cls(of_the_day=_first(ends, now), compiled=compiled)
        if isinstance(rule.lifetime, Period):
            ends.append((rule.lifetime.after(now), Reason.RULE_LIFETIME))
        session = (None, Reason.RULE_LIFETIME, None) if rule.lifetime == "session" else None
        return cls(
            of_the_day=session or _first(ends, now),
            by_choice=rule.purpose in compiled.by_consent,
            by_measurement=rule.purpose in compiled.by_objection,
            compiled=compiled,
        )

    def never_cut(self, longest: float | None) -> bool:
        """Whether a cookie that asks to be kept so long, None for a session, is within its limit all day."""
        if longest is None:
            return True
        seconds = self.of_the_day[0]
        depends = self.by_choice or self.by_measurement
        return seconds is not None and longest <= seconds and not depends

    def at(self, view: VisitorView, now: datetime) -> Limit:
        """The limit for one visitor at one moment."""
        limit = self.of_the_day
        seconds = limit[0]
        if seconds is None:
            return limit
        if self.by_choice and view.ends is not None:
            left = (view.ends - now).total_seconds()
            return (left, _CONSENT_END, view.ends) if left < seconds else limit
        if self.by_measurement and view.measured_since is not None:
            end = self.compiled.measuring_ends(view.measured_since)
            left = (end - now).total_seconds()
            return (left, Reason.MEASURING_END, end) if left < seconds else limit
        return limit


def _first(ends: list[tuple[datetime, Reason]], now: datetime) -> Limit:
    end, reason = min(ends)
    return (end - now).total_seconds(), reason, None
