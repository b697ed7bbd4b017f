"""What one process remembers of cookies in browsers. Never needed, always bounded.

A request tells names and values alone. What the app was seen to set, and what was tried in vain, spare a
site the configuration and a visitor the same useless header fields on every answer. A restart, or another
process, knows none of it: then a deletion takes a few more answers, and no more.

Threads share it without a lock: each step is one operation on a dict, a set or a lru_cache, all bounded by
the registry or by their size. Where two threads meet, one place or one try is forgotten, and comes again.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache

from .core.leftovers import Leftover, Place, Surroundings, place_of, refuses
from .core.registry import CookieRule
from .core.set_cookie import CookiePair, read_set_cookie
from .observe import Inventory
from .request import Request

_MOST_PLACES = 4
_MOST_NAMES = 2048
_MOST_VISITORS = 4096
_LONGEST = 256
"""Octets of the longest text that is remembered."""
_MOST_RULES = 32
"""Of one request, to be remembered together."""
_WAIT = timedelta(days=1)


class CookieMemory:
    """Where the app's cookies live, which refuse to go, and which nobody sets any more."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._learnt = lru_cache(_MOST_NAMES)(_Learnt)
        self._lines = lru_cache(_MOST_NAMES)(_Noted)
        self._settled = set[str]()
        self._first_seen: dict[str, datetime] = {}
        self._noted = lru_cache(_MOST_NAMES)(_Noted)
        self._tries = lru_cache(_MOST_VISITORS)(_Tries)

    def learn(self, name: str, line: str, request: Request) -> None:
        """Take notice of where a cookie that leaves will be kept; `line` is its Set-Cookie value."""
        tail = line.partition(";")[2]
        path = "" if "ath=" in tail.lower() else request.path
        if len(name) + len(tail) + len(path) > _LONGEST:
            return
        noted = self._lines(name, tail, path)
        if noted.done:
            return
        noted.done = True
        learnt, place = self._learnt(name), place_of(read_set_cookie(line), request.full_path)
        if place not in learnt.places:
            # The last that were learnt: an app that has moved a cookie sets it at one place only.
            learnt.places = (place, *learnt.places)[:_MOST_PLACES]

    def places(self, name: str) -> tuple[Place, ...]:
        """Where cookies of this very name were seen to be set, the last first."""
        return self._learnt(name).places if len(name) <= _LONGEST else ()

    def settle(self, rule: CookieRule) -> None:
        """Take notice that the app sets cookies of a rule, so that their ends are within limits."""
        self._settled.add(rule.name)

    def has_news(self, rules: frozenset[str], day: date) -> bool:
        """Whether these rules have not been noted together today: every other request is spared the rest."""
        return len(rules) > _MOST_RULES or not self._noted(rules, day).done

    def note_arrivals(self, came: frozenset[str], allowed: frozenset[str], now: datetime) -> None:
        """Report an allowed rule whose cookies have come for a day without being set by the app in that time.

        Nobody can tell their age: a script sets them, or they were stored before the middleware came.
        """
        if len(came) <= _MOST_RULES:
            self._noted(came, now.date()).done = True
        for rule in allowed.difference(self._settled):
            if now - self._first_seen.setdefault(rule, now) >= _WAIT:
                self._settled.add(rule)
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
        self._inventory.note_refusing(pair.name if leftover.named else "")
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


class _Noted:
    """Whether something was seen to already: rules that came on a day, or a line's attributes."""

    __slots__ = ("done",)

    def __init__(self, *what: object) -> None:
        del what
        self.done = False


class _Tries:
    """How often a visitor's cookie was told to go. The key is a hash: no value is kept."""

    __slots__ = ("count",)

    def __init__(self, key: int) -> None:
        del key
        self.count = 0
