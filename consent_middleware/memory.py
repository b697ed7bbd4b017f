"""What one process remembers of cookies in browsers. Never needed, always bounded.

A request tells names and values alone. What the app was seen to set spares a site the configuration. A
restart, or another process, knows none of it: then a deletion takes a few more answers, and no more.

Threads share it without a lock: each step is one operation on a dict, a set or a lru_cache, all bounded by
the registry or by their size. Where two threads meet, one place is forgotten, and comes again.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache

from .core.deletion import CookieScope, Deletion, RequestScope, UnwantedCookie, expire, scope_of
from .core.filtering import CookieKinds
from .core.registry import CookieRule
from .core.set_cookie import read_set_cookie
from .core.verdict import Verdict
from .observe import Inventory
from .request import Request

_MOST_PLACES = 4
_MOST_NAMES = 2048
_MOST_ANSWERS = 256
_LONGEST = 256
"""Octets of the longest text that is remembered."""
_WAIT = timedelta(days=1)


class CookieMemory:
    """Where the app's cookies live, and which nobody sets any more."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._learnt = lru_cache(_MOST_NAMES)(_Learnt)
        self._told = lru_cache(_MOST_ANSWERS)(_told)
        self._seen = set[tuple[Verdict, str]]()
        self._settled = set[str]()
        self._first_seen: dict[str, datetime] = {}
        self._noted = _Noticed(date.min)

    def is_new(self, verdict: Verdict, path: str) -> bool:
        """Whether lines of this verdict were not yet seen, on this path if they state none; noted now."""
        key = verdict, "" if verdict.attributes.path else path[:_LONGEST]
        if key in self._seen:
            return False
        if len(self._seen) >= _MOST_NAMES:
            self._seen = set()
        self._seen.add(key)
        return True

    def learn(self, name: str, line: str, request: Request) -> None:
        """Take notice of where a cookie that leaves will be kept; `line` is its Set-Cookie value."""
        if len(name) > _LONGEST or len(request.path) > _LONGEST:
            return
        learnt, place = self._learnt(name), scope_of(read_set_cookie(line), request.full_path)
        if place not in learnt.places:
            # The last that were learnt: an app that has moved a cookie sets it at one place only.
            learnt.places = (place, *learnt.places)[:_MOST_PLACES]

    def places(self, name: str) -> tuple[CookieScope, ...]:
        """Where cookies of this very name were seen to be set, the last first."""
        return self._learnt(name).places if len(name) <= _LONGEST else ()

    def deletions(
        self,
        came: list[UnwantedCookie],
        known: list[tuple[CookieScope, ...]],
        around: RequestScope,
        budget: int,
    ) -> list[Deletion]:
        """What `expire` makes of cookies that came, remembered: visitors of a page have the same ones.

        `known` is where each is known to be kept.
        """
        names = tuple([(one.name, one.named) for one in came])
        size = len(around.path) + len(around.host) + sum([len(name) for name, _ in names])
        nameless = not all(named for _, named in names)
        told = _told if size > _LONGEST or nameless else self._told
        return told(names, tuple(known), around, budget)

    def note_set(self, rule: CookieRule) -> None:
        """The app sets cookies of this rule itself, so their lifetime was already capped."""
        self._settled.add(rule.name)

    def is_new_today(self, kinds: CookieKinds, day: date) -> bool:
        """Whether these kinds of cookies were not noted today: other requests are spared the rest."""
        noted = self._noted
        return kinds not in noted.kinds or noted.day != day

    def note_arrivals(self, kinds: CookieKinds, allowed: frozenset[str], now: datetime) -> None:
        """Report an allowed rule whose cookies have come for a day without being set by the app in that time.

        Nobody can tell their age: a script sets them, or they were stored before the middleware came.
        """
        noted, day = self._noted, now.date()
        if noted.day != day or len(noted.kinds) >= _MOST_NAMES:
            noted = self._noted = _Noticed(day)
        if kinds.remembered:
            noted.kinds.add(kinds)
        for rule in allowed.difference(self._settled):
            if now - self._first_seen.setdefault(rule, now) >= _WAIT:
                self._settled.add(rule)
                self._inventory.note_unset(rule)


class _Learnt:
    """Where the cookies of one name live."""

    __slots__ = ("places",)

    def __init__(self, name: str) -> None:
        del name
        self.places: tuple[CookieScope, ...] = ()


def _told(
    names: tuple[tuple[str, bool], ...],
    known: tuple[tuple[CookieScope, ...], ...],
    around: RequestScope,
    budget: int,
) -> list[Deletion]:
    scopes = dict(zip(names, known, strict=True))
    cookies = [UnwantedCookie(name, named) for name, named in names]
    return expire(cookies, around, (), lambda one: scopes[one.name, one.named], budget)


class _Noticed:
    """The kinds of cookies that came on one day."""

    __slots__ = ("day", "kinds")

    def __init__(self, day: date) -> None:
        self.day = day
        self.kinds = set[CookieKinds]()
