"""What was decided, told to the people who run the site: once each, and never a cookie's value."""

import logging
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import count

from .core.registry import CookieRule
from .core.reports import Report
from .core.structured_fields import token_start
from .core.verdict import Reason
from .errors import RecordStoreError

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
_LONGEST_PATH = 256
_LONGEST_WORD = 160
"""Characters of a name, a host or a reason in one line of the log."""
_MOST_LINES = 60
"""Lines of the log in a minute; one more says that there would be more."""
_MOST_FRAMES = 3


class _Minutely:
    """Counts what happens in a minute of `clock`. Threads share it without a lock, so it may forget a few."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._minute, self._numbers = 0, count(1)

    def next(self) -> int:
        """The number of what happens now, from 1 in each minute."""
        try:
            minute = int(self._clock().timestamp() // 60)
        except Exception:  # noqa: BLE001 - a site's clock; that it fails must be logged too
            minute = self._minute
        if minute != self._minute:
            self._minute, self._numbers = minute, count(1)
        return next(self._numbers)


class Log:
    """All that a policy tells the people who run the site, in a bounded number of short lines.

    Lines hold names and reasons: never a value of a cookie, a path, or the message of a foreign exception,
    which may hold either. Lines of a minute that has had too many are left out.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._lines, self._failures = _Minutely(clock), _Minutely(clock)

    def warning(self, message: str, *words: str) -> bool:
        """Log a line; whether there was room for it."""
        return self._write(logging.WARNING, message, *words)

    def failure(self, message: str, error: Exception) -> None:
        """Log that something failed, with the kind of the error and where it was raised.

        Never raises: a site's filters and handlers may.
        """
        with suppress(Exception):
            self._failure(message, error)

    def _failure(self, message: str, error: Exception) -> None:
        # The newest frames alone, without the text of their lines.
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)[
            -_MOST_FRAMES:
        ]
        places = ", ".join(
            f"{frame.filename[-_LONGEST_PATH // 4 :]}:{frame.lineno} in {frame.name}"
            for frame in reversed(frames)
        )
        self._write(logging.ERROR, f"{message}: %s at %s", type(error).__name__, places)

    def store_failure(self, error: RecordStoreError) -> None:
        """Log why the record store failed, once a minute: its own words, which hold nothing of a record."""
        if self._failures.next() == 1:
            logger.warning("a record of consent could not be stored or read: %s", _printable(str(error)))

    def _write(self, level: int, message: str, *words: str) -> bool:
        number = self._lines.next()
        if number <= _MOST_LINES:
            logger.log(level, message, *map(_printable, words))
        elif number == _MOST_LINES + 1:
            logger.warning("there is more to tell: it is left out until the next minute")
        return number <= _MOST_LINES


def _printable(word: str) -> str:
    """A word on one line, without what controls a terminal, and not too long."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in word[:_LONGEST_WORD])


class DecisionLog:
    """Logs each drop once per name and reason."""

    def __init__(self, log: Log, *, observing: bool) -> None:
        self._log = log
        self._verb = "would be dropped" if observing else "dropped"
        # Apps can make up names without end: the memory of what was said is bounded.
        self._drops = lru_cache(1024)(_Drop)
        self._fields = lru_cache(1024)(_Field)

    def note(self, name: str, reason: Reason, rule: CookieRule | None) -> None:
        """Take notice of a line that is dropped."""
        purpose = rule.purpose if rule else ""
        drop = self._drops(name[:_LONGEST_NAME], reason, purpose)
        if not drop.told:
            advice = _ADVICE.get(drop.reason, "").format(name=f'"{drop.name}"', purpose=purpose)
            drop.told = self._log.warning(
                "Set-Cookie '%s' %s: %s; %s", drop.name, self._verb, drop.reason.value, advice
            )

    def note_fields(self, names: Iterable[str]) -> None:
        """Take notice of header fields that are dropped because their names are no tokens."""
        for name in names:
            # Behind its first odd character a name can hold a value.
            field = self._fields(token_start(name)[:_LONGEST_NAME])
            if not field.told:
                field.told = self._log.warning(
                    "a header field %s: its name, which begins with '%s', is no token "
                    "(RFC 9110, section 5.6.2)",
                    self._verb,
                    field.start,
                )


class _Drop:
    """What was dropped and why, and whether that was logged."""

    __slots__ = ("name", "reason", "told")

    def __init__(self, name: str, reason: Reason, purpose: str) -> None:
        del purpose
        self.name, self.reason, self.told = name, reason, False


class _Field:
    """How the name of a dropped header field begins, and whether that was logged."""

    __slots__ = ("start", "told")

    def __init__(self, start: str) -> None:
        self.start, self.told = start, False


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

    def __init__(self, log: Log) -> None:
        self._log = log
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
        self._log.warning(
            "undeclared cookie '%s' in requests: a script, an older release or another host "
            'stores it; declare it, or set [consent] undeclared_request = "expire"',
            name,
        )
        return self._undeclared.setdefault(name, _Counted(path[:_LONGEST_PATH], now))

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

    def note_unset(self, rule: str) -> None:
        """Report a rule whose cookies come but are not set; once per rule."""
        if _is_new(rule, self._unset):
            self._log.warning(
                "cookies of rule '%s' have come for a day and the app set none: a script stores them, or "
                "they are older than the middleware, and may outlive their lifetime; set or expire them",
                rule,
            )


def _is_new(name: str, names: dict[str, None]) -> bool:
    """Whether a name is told for the first time; it is remembered then, as long as there is room."""
    if name in names or len(names) >= _MOST_NAMES:
        return False
    names[name] = None
    return True
