"""What was decided, told to the people who run the site: once each, and never a cookie's value."""

import logging
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import count

from .core.structured_fields import token_start
from .core.verdict import Reason, Verdict
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
LONGEST_NAME = 100
LONGEST_PATH = 256
_LONGEST_WORD = 160
"""Characters of a name, a host or a reason in one line of the log."""
_MOST_LINES = 60
"""Lines of the log in a minute; one more says that there would be more."""
_MOST_FRAMES = 3
_MOST_TOLD = 1024


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
        self._lines, self._failures, self._records = (_Minutely(clock) for _ in range(3))

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
            f"{frame.filename[-LONGEST_PATH // 4 :]}:{frame.lineno} in {frame.name}"
            for frame in reversed(frames)
        )
        self._write(logging.ERROR, f"{message}: %s at %s", type(error).__name__, places)

    def store_failure(self, error: RecordStoreError) -> None:
        """Log why the record store failed, once a minute: its own words, which hold nothing of a record."""
        if self._failures.next() == 1:
            logger.warning("a record of consent could not be stored or read: %s", _printable(str(error)))

    def unrecorded(self, line: str) -> None:
        """Log a record that could not be stored, whole: what takes something back holds without it.

        Strangers can refuse as often as they like, so those of a minute that has had too many are left out.
        """
        number = self._records.next()
        if number <= _MOST_LINES:
            logger.error("%s", line)
        elif number == _MOST_LINES + 1:
            logger.error(
                "more refusals could not be stored: they hold, but are in the log no more this minute"
            )

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
        self._drops = lru_cache(_MOST_TOLD)(_Drop)
        self._fields = lru_cache(_MOST_TOLD)(_Field)

    def note(self, verdict: Verdict, reason: Reason) -> bool:
        """Take notice of a line that is dropped; whether the log says so by now."""
        rule = verdict.rule
        purpose = rule.purpose if rule else ""
        drop = self._drops(verdict.name[:LONGEST_NAME], reason, purpose)
        if not drop.told:
            advice = _ADVICE.get(drop.reason, "").format(name=f'"{drop.name}"', purpose=purpose)
            drop.told = self._log.warning(
                "Set-Cookie '%s' %s: %s; %s", drop.name, self._verb, drop.reason.value, advice
            )
        return drop.told

    def note_fields(self, names: Iterable[str]) -> None:
        """Take notice of header fields that are dropped because their names are no tokens."""
        for name in names:
            # Behind its first odd character a name can hold a value.
            field = self._fields(token_start(name)[:LONGEST_NAME])
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
