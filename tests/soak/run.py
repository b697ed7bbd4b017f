"""The long run: `python tests/soak/run.py --lines 200000`.

Every line goes through the middleware, by WSGI and by ASGI, for each visitor; what leaves is stored by
every engine that the machine has, and no engine may end up with a cookie that lacks consent or outlives
its limit. Four lines in five come from the grammar, the fifth from hypothesis. Ends with 1 if a promise
was broken, with 2 if time ran out before the lines did.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from random import SystemRandom

from engines import ENGINES, Engine, Unavailable
from grammar import Grammar, soup
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from verdict import Court, Product, Violation

BATCH = 2000
SHOWN = 5
"""Violations of one kind and engine that are printed in full."""


def from_hypothesis(count: int, number: int, now: datetime) -> list[str]:
    """That many lines from hypothesis, the same for the same number and day."""
    lines: list[str] = []

    @seed(number)
    @settings(
        max_examples=count // 20 + 1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(soup(now), min_size=20, max_size=20))
    def collect(batch: list[str]) -> None:
        lines.extend(batch)

    collect()
    return lines[:count]


def shortened(court: Court, violation: Violation, tries: int = 400) -> str:
    """A shorter line with the same fault, found by leaving out ever smaller pieces."""
    # Only the engine that saw it is asked, or a shorter line would cost as much as a batch.
    engines = [engine for engine in court.engines if engine.name == violation.engine]
    small = Court(court.doors, engines)
    line, size = violation.line, max(1, len(violation.line) // 2)
    while size and tries:
        place = 0
        while place < len(line) and tries:
            tries -= 1
            shorter = line[:place] + line[place + size :]
            found = small.judge([shorter], datetime.now(UTC))
            same = any(v.kind == violation.kind and v.engine == violation.engine for v in found)
            line, place = (shorter, place) if same else (line, place + size)
        size //= 2
    return line


class Run:
    """One long run and what it found."""

    def __init__(self, court: Court, number: int) -> None:
        self.court, self.number = court, number
        self.lines = 0
        self.distinct: set[int] = set()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.shortest: dict[tuple[str, str], str] = {}

    def batch(self, size: int, index: int) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        grammar = Grammar(self.number * 1_000_003 + index, now)
        by_hypothesis = from_hypothesis(size // 5, self.number * 1_000_003 + index, now)
        lines = [*by_hypothesis, *(grammar.line() for _ in range(size - len(by_hypothesis)))]
        now = datetime.now(UTC)
        found = [
            *self.court.judge(lines, now),
            *self.court.lost([grammar.well_formed() for _ in range(100)], now),
        ]
        self.lines += len(lines)
        self.distinct.update(map(hash, lines))
        for violation in found:
            self.note(violation)

    def note(self, violation: Violation) -> None:
        key = (violation.kind, violation.engine)
        self.counts[key] += 1
        if self.counts[key] <= SHOWN:
            print(violation, flush=True)
        if key not in self.shortest:
            self.shortest[key] = shortened(self.court, violation)
            print(f"    shortest: {self.shortest[key]!r}", flush=True)

    def summary(self) -> str:
        rows = [f"{self.lines} lines, {len(self.distinct)} of them distinct; seed {self.number}"]
        rows.append(f"{'judge':<16}{'lines judged':>14}{'cookies stored':>16}{'violations':>12}")
        rows += [
            f"{n:<16}{t.lines:>14}{t.cookies:>16}{t.violations:>12}" for n, t in self.court.tallies.items()
        ]
        rows += [f"{count} x {kind} [{engine}], such as {self.shortest[kind, engine]!r}"
                 for (kind, engine), count in self.counts.most_common()]  # fmt: skip
        return "\n".join(rows)


def opened(stack: ExitStack, wanted: list[str]) -> list[Engine]:
    """The engines that are wanted and there; the rest are named."""
    engines = []
    for engine in ENGINES:
        if wanted and engine.name not in wanted:
            continue
        try:
            engines.append(stack.enter_context(engine()))
        except Unavailable as reason:
            print(f"not judged by {engine.name}: {reason}")
    return engines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time, whatever is left")
    parser.add_argument("--engines", nargs="*", default=[], help=", ".join(e.name for e in ENGINES))
    options = parser.parse_args(arguments)
    # What it drops is what this run is about; a line of log for each would bury the findings.
    logging.getLogger("consent_middleware").setLevel(logging.ERROR)
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    with ExitStack() as stack:
        product = Product()
        court = Court([product.by_wsgi, product.by_asgi], opened(stack, options.engines))
        run = Run(court, options.seed)
        for index in range(-(-options.lines // BATCH)):
            if time.monotonic() - began > options.minutes * 60:
                break
            run.batch(min(BATCH, options.lines - run.lines), index)
            print(
                f"{run.lines} lines, {time.monotonic() - began:.0f} s, {run.counts.total()} violations",
                flush=True,
            )
        print(run.summary())
    if run.counts:
        return 1
    return 0 if run.lines >= options.lines else 2


if __name__ == "__main__":
    sys.exit(main())
