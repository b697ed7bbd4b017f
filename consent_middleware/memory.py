"""What one process remembers of cookies in browsers. Never needed, always bounded.

A request tells names and values alone. What the app was seen to set, and what was tried in vain, spare a
site the configuration and a visitor the same useless header fields on every answer. A restart, or another
process, knows none of it: then a deletion takes a few more answers, and no more.

Threads share it without a lock: each step is one operation on a dict, a set or a lru_cache, all bounded by
the registry or by their size. Where two threads meet, one place or one try is forgotten, and comes again.
"""

from datetime import datetime, timedelta
from functools import lru_cache

from .core.leftovers import Leftover, Place, Surroundings, place_of, refuses
from .core.registry import CookieRule
from .core.set_cookie import CookiePair, SetCookie
from .observe import Inventory

_MOST_PLACES = 4
_MOST_NAMES = 2048
_MOST_VISITORS = 4096
_WAIT = timedelta(days=1)


class CookieMemory:
    """Where the app's cookies live, which refuse to go, and which nobody sets any more."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._learnt = lru_cache(_MOST_NAMES)(_Learnt)
        self.settled = set[str]()
        """Rules of which nothing more is to be reported."""
        self._first_seen: dict[str, datetime] = {}
        self._tries = lru_cache(_MOST_VISITORS)(_Tries)

    def learn(self, cookie: SetCookie, request_path: str) -> None:
        """Take notice of where a cookie that leaves will be kept."""
        learnt, place = self._learnt(cookie.name), place_of(cookie, request_path)
        if place not in learnt.places:
            # The last that were learnt: an app that has moved a cookie sets it at one place only.
            learnt.places = (place, *learnt.places)[:_MOST_PLACES]

    def places(self, name: str) -> tuple[Place, ...]:
        """Where cookies of this very name were seen to be set, the last first."""
        return self._learnt(name).places

    def settle(self, rule: CookieRule) -> None:
        """Take notice that the app sets cookies of a rule, so that their ends are within limits."""
        self.settled.add(rule.name)

    def note_arrivals(self, rules: frozenset[str], now: datetime) -> None:
        """Report a rule whose cookies have come for a day without being set by the app in that time.

        Nobody can tell their age: a script sets them, or they were stored before the middleware came.
        """
        for rule in rules.difference(self.settled):
            if now - self._first_seen.setdefault(rule, now) >= _WAIT:
                self.settled.add(rule)
                self._inventory.note_unset(rule)

    def leftover(
        self, pair: CookiePair, known: tuple[Place, ...], visitor: str, around: Surroundings
    ) -> Leftover | None:
        """A cookie that has to go, as it was tried so far; None if it refused long enough, which is reported.

        `visitor` is any text that is much the same on this visitor's requests and seldom another's.
        """
        tried = self._tries(hash((visitor, pair.name))).count
        leftover = Leftover(pair.name, "=" in pair.piece, known, tried)
        if not refuses(leftover, around):
            return leftover
        self._inventory.note_refusing(pair.name)
        return None

    def tried(self, visitor: str, name: str) -> None:
        """Take notice of one try."""
        self._tries(hash((visitor, name))).count += 1


class _Learnt:
    """Where the cookies of one name live."""

    __slots__ = ("places",)

    def __init__(self, name: str) -> None:
        del name
        self.places: tuple[Place, ...] = ()


class _Tries:
    """How often a visitor's cookie was told to go. The key is a hash: no value is kept."""

    __slots__ = ("count",)

    def __init__(self, key: int) -> None:
        del key
        self.count = 0
