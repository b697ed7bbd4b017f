"""What the middleware adds to a request, as a multiple of what a session that is read adds; one run.

    python benchmarks/overhead.py [--memory [REQUESTS]]

The unit, for both doors, is the CPU time that Starlette's SessionMiddleware adds where a session is present and
read. Time is that of the thread. The variants of a row run in turn, in rounds, and of each the lower quartile
counts: what else the machine does only adds. Each row ends with the most that it may be.
"""

import argparse
import asyncio
import gc
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice, starmap
from pathlib import Path
from resource import getpagesize

from traffic import (
    ANSWERS,
    ENFORCING,
    RULES,
    TRAFFIC,
    AnyTraffic,
    asgi_app,
    asgi_headers,
    changing_values,
    environ_of,
    make_policy,
    more_cookies,
    rules_text,
    scope_of,
    session_read,
    wsgi_app,
    wsgi_headers,
)

from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

FIRST_REQUESTS = 100_000
"""After so many requests of random everything all that is bounded is full."""


@dataclass(frozen=True)
class Size:
    """How often the variants take turns, how many requests each gets in a turn, how many rules are many.

    And how often the door is imported.
    """

    rounds: int = 25
    requests: int = 400
    many_rules: int = 100_000
    imports: int = 5


@dataclass(frozen=True)
class Setting:
    """Who asks, what the app answers, by which registry it is judged."""

    traffic: Callable[[], Iterator[str]] = changing_values
    answers: str = "3"
    rules: Callable[[Size], str] = lambda size: RULES


MORE = 30
"""By how many request cookies the settings of a row differ."""


def as_sessions(unit: float, micros: list[float]) -> float:
    return micros[0] / unit


def each_cookie(unit: float, micros: list[float]) -> float:
    return (micros[-1] - micros[-2]) / MORE / unit


def times(unit: float, micros: list[float]) -> float:
    return micros[1] / micros[0]


@dataclass(frozen=True)
class Row:
    """A line of the table: the settings that are compared, and the most that may come of it.

    The unit is what a session adds in the first setting.
    """

    name: str
    lines: str
    must: float
    settings: tuple[Setting, ...]
    figure: Callable[[float, list[float]], float] = as_sessions


TIMES_MUST = {
    "one visitor, same Cookie field": (0.45, 0.85),
    "known visitor, values change": (0.48, 0.90),
    "visitors never seen": (1.8, 2.5),
    "forged tokens": (1.3, 1.6),
}
ENFORCED = {answers: Setting(answers=answers, rules=lambda size: ENFORCING) for answers in ("0", "3")}
FEW = Setting(answers="0")
HALF, ALL = (Setting(more_cookies(number * MORE), answers="0") for number in (1, 2))
TEN_RULES = Setting(rules=lambda size: rules_text(10 - RULES.count("[[cookies]]")))
MANY_RULES = Setting(rules=lambda size: rules_text(size.many_rules))
TABLE = (
    *(
        Row(kind, lines, must, (Setting(TRAFFIC[kind], lines),))
        for kind, musts in TIMES_MUST.items()
        for lines, must in zip(("0", "3"), musts, strict=True)
    ),
    Row("Expires change each second", "3", 1.2, (Setting(answers="3, Expires change"),)),
    Row("gating enforces", "0", 0.7, (ENFORCED["0"],)),
    Row("gating enforces", "3", 1.4, (ENFORCED["3"],)),
    Row("each of 30 request cookies", "0", 0.03, (FEW, HALF), each_cookie),
    Row("each of 30 more", "0", 0.03, (FEW, HALF, ALL), each_cookie),
    Row("many rules, times ten rules", "3", 1.15, (TEN_RULES, MANY_RULES), times),
)


async def drop(message):
    """Where answers go."""


def start_response(status, headers, exc_info=None):
    return None


@dataclass(frozen=True)
class AsgiTurns:
    """Runs one ASGI app in turns; the requests of a turn are made before the clock starts."""

    app: Callable
    scopes: Iterator[dict]

    def seconds(self, requests: int) -> float:
        return asyncio.run(self._seconds(list(islice(self.scopes, requests))))

    async def _seconds(self, scopes: list[dict]) -> float:
        start = time.thread_time()
        for scope in scopes:
            await self.app(scope, None, drop)
        return time.thread_time() - start


@dataclass(frozen=True)
class WsgiTurns:
    """The same for a WSGI app."""

    app: Callable
    environs: Iterator[dict]

    def seconds(self, requests: int) -> float:
        environs = list(islice(self.environs, requests))
        start = time.thread_time()
        for environ in environs:
            b"".join(self.app(environ, start_response))
        return time.thread_time() - start


def variants(setting: Setting, size: Size) -> dict[str, AsgiTurns | WsgiTurns]:
    """Every app of a setting. Each has a policy and traffic of its own: what one remembers helps no other."""
    answers, rules = ANSWERS[setting.answers](), setting.rules(size)
    bare = asgi_app(cycle([asgi_headers(lines) for lines in answers]))
    plain = wsgi_app(cycle([wsgi_headers(lines) for lines in answers]))
    apps = {"bare": bare, "session": session_read(bare), "ASGI": Asgi(bare, make_policy(rules))}
    wsgi_apps = {"bare WSGI": plain, "WSGI": Wsgi(plain, make_policy(rules))}
    return {
        **{name: AsgiTurns(app, map(scope_of, setting.traffic())) for name, app in apps.items()},
        **{name: WsgiTurns(app, map(environ_of, setting.traffic())) for name, app in wsgi_apps.items()},
    }


def lower_quartiles(turns: list[dict], size: Size) -> list[dict[str, float]]:
    """Microseconds a request, of every variant of every setting, all of which take turns."""
    taken = [{name: [] for name in setting} for setting in turns]
    for _ in range(size.rounds):
        for setting, found in zip(turns, taken, strict=True):
            for name, run in setting.items():
                found[name].append(run.seconds(size.requests) / size.requests * 1e6)
    return [{name: sorted(all)[len(all) // 4] for name, all in found.items()} for found in taken]


def measure(row: Row, size: Size) -> tuple[float, dict[str, float]]:
    """What a session adds in µs, and the row's figure for each door."""
    micros = lower_quartiles([variants(setting, size) for setting in row.settings], size)
    unit = micros[0]["session"] - micros[0]["bare"]
    added = {
        "ASGI": [m["ASGI"] - m["bare"] for m in micros],
        "WSGI": [m["WSGI"] - m["bare WSGI"] for m in micros],
    }
    return unit, {door: row.figure(unit, found) for door, found in added.items()}


def verdict(got: float, must: float) -> str:
    return "" if got <= must else "  MISSED"


def print_table(size: Size) -> None:
    print(f"{'':30} {'lines':18} {'session µs':>10} {'ASGI':>7} {'WSGI':>7} {'must':>6}")
    for row in TABLE:
        unit, got = measure(row, size)
        worst = verdict(max(got.values()), row.must)
        figures = f"{got['ASGI']:7.3f} {got['WSGI']:7.3f} {row.must:6}"
        print(f"{row.name:30} {row.lines:18} {unit:10.1f} {figures}{worst}", flush=True)


def seconds_to_load(number: int) -> float:
    rules = rules_text(number)
    start = time.thread_time()
    make_policy(rules)
    return time.thread_time() - start


IMPORT = """
import asyncio, dataclasses, itsdangerous, msgspec, time
start = time.thread_time()
import consent_middleware.asgi
print(time.thread_time() - start)
"""


def milliseconds_to_import(times: int) -> float:
    """Of the ASGI door once what it rests on is imported; the best of so many processes."""
    command = [sys.executable, "-c", IMPORT]
    runs = [subprocess.run(command, capture_output=True, check=True, text=True) for _ in range(times)]
    return min(float(run.stdout) for run in runs) * 1000


def print_start(size: Size) -> None:
    rules = size.many_rules // 10
    for name, unit, got, must in (
        (f"loading {rules:,} rules", "s", seconds_to_load(rules), 1.0),
        ("importing the ASGI door", "ms", milliseconds_to_import(size.imports), 40.0),
    ):
        print(f"{name:49} {unit:>10} {got:7.2f} {'':7} {must:6}{verdict(got, must)}", flush=True)


def resident_megabytes() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * getpagesize() / 1e6


def any_turns() -> tuple[AsgiTurns, WsgiTurns]:
    """Both doors of one policy under random requests and answers."""
    policy, traffic = make_policy(ENFORCING), AnyTraffic(seed=1)
    requests = iter(traffic.request, None)
    answers = iter(traffic.lines, None)
    bare, plain = asgi_app(map(asgi_headers, answers)), wsgi_app(map(wsgi_headers, answers))
    return (
        AsgiTurns(Asgi(bare, policy), starmap(scope_of, requests)),
        WsgiTurns(Wsgi(plain, policy), starmap(environ_of, requests)),
    )


def megabytes_grown(first: int, last: int, turn: int = 1000) -> float:
    """How much resident memory grew from the `first` request of random everything to the `last`."""
    turns = cycle(any_turns())
    for _ in range(0, first, turn):
        next(turns).seconds(turn)
    before = resident_megabytes()
    for _ in range(first, last, turn):
        next(turns).seconds(turn)
    return resident_megabytes() - before


def print_memory(last: int) -> None:
    name = f"memory from {FIRST_REQUESTS:,} to {last:,} requests"
    got, must = megabytes_grown(FIRST_REQUESTS, last), 15.0
    print(f"{name:49} {'MB':>10} {got:7.1f} {'':7} {must:6}{verdict(got, must)}")


def main(arguments: list[str] | None = None, size: Size = Size()) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help = "also watch memory over so many requests; 300,000 where none is given"
    parser.add_argument("--memory", type=int, nargs="?", const=300_000, metavar="REQUESTS", help=help)
    options = parser.parse_args(arguments)
    logging.disable()
    print_table(size)
    print_start(size)
    if options.memory:
        print_memory(options.memory)


if __name__ == "__main__":
    main()
