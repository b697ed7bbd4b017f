"""Collects the mistakes and suspicions of one registry file, with the lines where they are."""

import re
from collections.abc import Collection
from functools import cached_property
from typing import NamedTuple

from consent_middleware.errors import Mistake

from .positions import Path, dotted, locate


class Problem(NamedTuple):
    """What is wrong with a value, and what was probably meant."""

    message: str
    hint: str = ""


class Findings:
    """Mistakes and suspicions of one file. Line numbers are only worked out if there are any."""

    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text
        self._mistakes: list[tuple[Path, Problem]] = []
        self._suspicions: list[tuple[Path, Problem]] = []
        self._mistaken: set[Path] = set()

    def mistake(self, path: Path, message: str, hint: str = "") -> None:
        """Add a finding that stops the start."""
        self._mistakes.append((path, Problem(message, hint)))
        self._mistaken.add(path)

    def suspicion(self, path: Path, message: str, hint: str = "") -> None:
        """Add a finding that is allowed but probably not intended."""
        self._suspicions.append((path, Problem(message, hint)))

    def has_mistake(self, *path: str | int) -> bool:
        """Whether this value has a mistake already, so that checks that rest on it are skipped."""
        return path in self._mistaken

    def line(self, path: Path) -> int:
        """The line of a key, or of the table where it is missing; 0 if neither is in the file."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """All mistakes in the order of the file."""
        return self._located(self._mistakes)

    @property
    def suspicions(self) -> tuple[Mistake, ...]:
        """All suspicions in the order of the file."""
        return self._located(self._suspicions)

    @cached_property
    def _lines(self) -> dict[Path, int]:
        return locate(self._text)

    def _located(self, found: list[tuple[Path, Problem]]) -> tuple[Mistake, ...]:
        located = (
            Mistake(
                self._file, self.line(path), dotted(self._as_written(path)), problem.message, problem.hint
            )
            for path, problem in found
        )
        return tuple(sorted(located, key=lambda mistake: mistake.line))

    def _as_written(self, path: Path) -> Path:
        """The path without index 0 where the file has a single value in place of an array."""
        return path[:-1] if isinstance(path[-1], int) and path not in self._lines else path


def syntax_mistake(file: str, text: str, error: Exception) -> Mistake:
    """The mistake for an error of `tomllib`. Before Python 3.14 only its message has the line."""
    if isinstance(error, RecursionError):
        return Mistake(file, 0, "", "arrays or tables are nested too deeply")
    message = str(error)
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if place is None:
        return Mistake(file, 0, "", message)
    line = int(place[1]) if place[1] else text.rstrip().count("\n") + 1
    return Mistake(file, line, "", f"not TOML: {message[: place.start()]}")


def nearest(word: str, known: Collection[str]) -> str:
    """A hint with the most similar known word, "" if none is similar."""
    import difflib  # noqa: PLC0415 - imported on first use

    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]!r}?" if near else ""


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The same; without a similar word all known words, if there are at most twelve."""
    listed = f"known: {', '.join(known)}" if 0 < len(known) <= 12 else ""
    return nearest(word, known) or listed
