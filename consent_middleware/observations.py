"""What one process saw of cookies and of third parties. Never needed, always bounded; names, never values.

A request tells names and values alone. What the app was seen to set spares a site the configuration. A
restart, or another process, knows none of it: then a deletion takes a few more answers, and no more.

Threads share it without a lock: each step is one operation on a dict, a set or a lru_cache, all bounded by
the registry or by their size. Where two threads meet, one place is forgotten, and comes again; a count may
be a few behind.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count

import msgspec

from .core.deletion import CookieScope, scope_of
from .core.filtering import Judged
from .core.registry import LONGEST_REMEMBERED, CookieRule
from .core.reports import Report
from .core.set_cookie import read_set_cookie
from .core.verdict import Reason, Verdict
from .observe import LONGEST_NAME, LONGEST_PATH, Log
from .request import Request

_MOST_PLACES = 4
_MOST_LEARNT = 2048
_MOST_NAMES = 1000
_MOST_REPORTS = 600
"""Reports that are taken in a minute."""
# In Python 3.11 each look at an enum's member by its class costs as much as ten at a name.
_DELETION = Reason.DELETION
_WAIT = timedelta(days=1)


class Sighting(msgspec.Struct, frozen=True):
    """An undeclared cookie in requests: how many carried it, and where and when the first did."""

    name: str
    count: int
    path: str
    first: datetime


class Loaded(msgspec.Struct, frozen=True):
    """A host that pages load from, by the directive that would stop it: how often, and since when."""

    host: str
    directive: str
    count: int
    first: datetime


class _Counted:
    __slots__ = ("count", "first", "numbers", "path")

    def __init__(self, path: str, first: datetime) -> None:
        self.path, self.first, self.numbers = path, first, count(1)
        self.count = 0


class _Learnt:
    """Where the cookies of one name live."""

    __slots__ = ("places",)

    def __init__(self, name: str) -> None:
        del name
        self.places: tuple[CookieScope, ...] = ()


class Observations:
    """What requests and answers showed since this process began: at most a thousand names of each kind."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._learnt = lru_cache(_MOST_LEARNT)(_Learnt)
        self.noted = set[Verdict]()
        """Verdicts on lines of which there is nothing left to note."""
        self._set = set[tuple[Verdict, str]]()
        self._settled = set[str]()
        self._first_seen: dict[str, datetime] = {}
        self._undeclared: dict[str, _Counted] = {}
        self._unset: dict[str, None] = {}
        self._loaded: dict[Report, _Counted] = {}
        self._minute, self._reports = 0, 0
        self.older_key_tokens = 0
        """Tokens that another key than the newest signed; one that comes again after a while counts again."""
        self.changes = 0
        """How often the places of cookies changed: what was worked out from them before is out of date."""

    def undeclared(self) -> list[Sighting]:
        """Cookies that no rule declares, the most frequent first."""
        found = [Sighting(n, c.count, c.path, c.first) for n, c in list(self._undeclared.items())]
        return sorted(found, key=lambda one: (-one.count, one.name))

    def loaded(self) -> list[Loaded]:
        """Hosts that pages load from without leave, as browsers report; the most frequent first."""
        found = [Loaded(r.host, r.directive, c.count, c.first) for r, c in list(self._loaded.items())]
        return sorted(found, key=lambda one: (-one.count, one.host, one.directive))

    def unset(self) -> list[str]:
        """Rules whose cookies keep coming although the app does not set them: their ends are unknown."""
        return list(self._unset)

    def note_older_key(self) -> None:
        """Count a token that another key than the newest signed, as long as it is not remembered."""
        self.older_key_tokens += 1
        if self.older_key_tokens == 1:
            self._log.warning(
                "consent tokens come that an older key signed: keep it among the secret keys until no "
                "visitor has such a token any more, at most for the lifetime of a choice"
            )

    def note_set(self, judged: Judged, request: Request) -> None:
        """Remember where browsers will keep a cookie that leaves with the answer to a request.

        The app sets cookies of its rule itself, so their lifetime is capped.
        """
        verdict = judged.verdict
        # Where a line states no path, the request's decides.
        path = "" if verdict.attributes.path else request.mount + request.path
        key = verdict, path[:LONGEST_REMEMBERED]
        if key in self._set or verdict.rule is None or judged.reason is _DELETION:
            return
        self._settled.add(verdict.rule.name)
        if verdict.is_optional and judged.after is not None:
            self.learn(verdict.name, judged.after, request.full_path)
        if not verdict.is_short:
            return
        if len(self._set) >= _MOST_LEARNT:
            self._set = set()
        self._set.add(key)
        if verdict.attributes.path:
            self.note_all(verdict)

    def note_all(self, verdict: Verdict) -> None:
        """There is nothing left to note of lines with this verdict."""
        if verdict.is_short:
            if len(self.noted) >= _MOST_LEARNT:
                self.noted = set()
            self.noted.add(verdict)

    def learn(self, name: str, line: str, path: str) -> None:
        """Take notice of where a cookie that leaves will be kept; `line` is its Set-Cookie value."""
        place = scope_of(read_set_cookie(line), path)
        if max(len(name), len(place.path), len(place.domain)) > LONGEST_REMEMBERED:
            return
        learnt = self._learnt(name)
        if place not in learnt.places:
            # The last that were learnt: an app that has moved a cookie sets it at one place only.
            learnt.places = (place, *learnt.places)[:_MOST_PLACES]
            self.changes += 1

    def places(self, name: str) -> tuple[CookieScope, ...]:
        """Where cookies of this very name were seen to be set, the last first."""
        return self._learnt(name).places if len(name) <= LONGEST_REMEMBERED else ()

    def note_arrivals(self, rules: Iterable[CookieRule], now: datetime) -> None:
        """Report an allowed rule whose cookies have come for a day without being set by the app in that time.

        Nobody can tell their age: a script sets them, or they were stored before the middleware came.
        """
        for name in {rule.name for rule in rules} - self._settled:
            if now - self._first_seen.setdefault(name, now) >= _WAIT:
                self._settled.add(name)
                self._note_unset(name)

    def note_undeclared(self, names: Iterable[str], path: str, now: datetime) -> None:
        """Count the undeclared cookies of one request."""
        for name in names:
            counted = self._undeclared.get(name[:LONGEST_NAME]) or self._add(name[:LONGEST_NAME], path, now)
            if counted:
                counted.count = next(counted.numbers)

    def _add(self, name: str, path: str, now: datetime) -> _Counted | None:
        if len(self._undeclared) >= _MOST_NAMES:
            return None
        self._log.warning(
            "undeclared cookie '%s' in requests: a script, an older release or another host "
            'stores it; declare it, or set [consent] undeclared_request = "expire"',
            name,
        )
        return self._undeclared.setdefault(name, _Counted(path[:LONGEST_PATH], now))

    def note_reports(self, reports: Iterable[Report], now: datetime) -> None:
        """Count what browsers report. Anybody can send reports: those beyond a rate are lost."""
        minute = int(now.timestamp() // 60)
        if minute != self._minute:
            self._minute, self._reports = minute, 0
        for report in reports:
            self._reports += 1
            counted = self._loaded.get(report)
            if self._reports > _MOST_REPORTS or (counted is None and len(self._loaded) >= _MOST_NAMES):
                return
            if counted is None:
                self._log.warning(
                    "a page loads from '%s' (%s) without its visitor's leave: declare it under a vendor's "
                    "hosts, or allow it for everybody in [gating] allow",
                    report.host,
                    report.directive,
                )
                counted = self._loaded.setdefault(report, _Counted("", now))
            counted.count = next(counted.numbers)

    def _note_unset(self, rule: str) -> None:
        """Report a rule whose cookies come but are not set; once per rule."""
        if rule in self._unset or len(self._unset) >= _MOST_NAMES:
            return
        self._unset[rule] = None
        self._log.warning(
            "cookies of rule '%s' have come for a day and the app set none: a script stores them, or "
            "they are older than the middleware, and may outlive their lifetime; set or expire them",
            rule,
        )
