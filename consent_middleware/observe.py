"""What was decided, told to the people who run the site: once each, and never a cookie's value."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import count

from .core.enforcement import Decision, Reason
from .core.reports import Report

logger = logging.getLogger("consent_middleware")

_ADVICE = {
    Reason.UNDECLARED: 'declare it in the registry: [[cookies]] name = {name}, purpose = "…"',
    Reason.NOT_ASKED: "it leaves once the visitor agrees to {purpose}",
    Reason.REFUSED: "the visitor refused it or its purpose, {purpose}",
    Reason.NAMELESS: "give it a name; browsers return a nameless cookie as if its value were name and value",
    Reason.MALFORMED: "it holds control characters or a name that browsers read differently",
    Reason.TOO_LARGE: "browsers take 4096 octets for name and value",
    Reason.PREFIX: "its name's prefix demands Secure, and for __Host- also Path=/ and no Domain",
    Reason.FORGED: "this is the name of the consent cookie; set it by ConsentPolicy.consent_cookie() alone",
}
_LONGEST_NAME = 100


class DecisionLog:
    """Logs each drop once per name and reason."""

    def __init__(self, *, observing: bool) -> None:
        self._verb = "would be dropped" if observing else "dropped"
        # Apps can make up names without end: the memory of what was said is bounded.
        self._say_once = lru_cache(1024)(self._say)

    def note(self, dropped: Decision) -> None:
        """Take notice of a line that is dropped."""
        purpose = dropped.rule.purpose if dropped.rule else ""
        self._say_once(dropped.name[:_LONGEST_NAME], dropped.reason, purpose)

    def _say(self, name: str, reason: Reason, purpose: str) -> None:
        advice = _ADVICE.get(reason, "").format(name=f'"{name}"', purpose=purpose)
        logger.warning("Set-Cookie %r %s: %s; %s", name, self._verb, reason.value, advice)


_MOST_NAMES = 1000
_MOST_REPORTS = 600
"""Reports that are taken in a minute."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An undeclared cookie in requests: how many carried it, and where and when the first did."""

    name: str
    count: int
    path: str
    first: datetime


@dataclass(frozen=True, slots=True)
class Loaded:
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


class Inventory:
    """What requests showed since this process began: names alone, at most a thousand of each kind.

    Threads share it without a lock; a count may be a few behind.
    """

    def __init__(self) -> None:
        self._undeclared: dict[str, _Counted] = {}
        self._unset: dict[str, None] = {}
        self._loaded: dict[Report, _Counted] = {}
        self._minute, self._reports = 0, 0
        self.overlooked = 0
        """Undeclared cookies that came when there was no more room."""

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

    def note_undeclared(self, names: tuple[str, ...], path: str, now: datetime) -> None:
        """Count the undeclared cookies of one request."""
        for name in names:
            counted = self._undeclared.get(name[:_LONGEST_NAME]) or self._add(name[:_LONGEST_NAME], path, now)
            if counted:
                counted.count = next(counted.numbers)

    def _add(self, name: str, path: str, now: datetime) -> _Counted | None:
        if len(self._undeclared) >= _MOST_NAMES:
            self.overlooked += 1
            return None
        logger.warning(
            "undeclared cookie %r in requests, first at %r: a script, an older release or another host "
            'stores it; declare it, or set [consent] undeclared_request = "expire"',
            name,
            path,
        )
        return self._undeclared.setdefault(name, _Counted(path, now))

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
                logger.warning(
                    "a page loads from %r (%s) without its visitor's leave: declare it under a vendor's "
                    "hosts, or allow it for everybody in [gating] allow",
                    report.host,
                    report.directive,
                )
                counted = self._loaded.setdefault(report, _Counted("", now))
            counted.count = next(counted.numbers)

    def note_unset(self, rule: str) -> None:
        """Report a rule whose cookies come but are not set; once per rule."""
        if _is_new(rule, self._unset):
            logger.warning(
                "cookies of rule %r have come for a day and the app set none: a script stores them, or they "
                "are older than the middleware, and may outlive their lifetime; set or expire them",
                rule,
            )


def _is_new(name: str, names: dict[str, None]) -> bool:
    """Whether a name is told for the first time; it is remembered then, as long as there is room."""
    if name in names or len(names) >= _MOST_NAMES:
        return False
    names[name] = None
    return True
