"""The benchmarks run, and measure what they say: each row is printed beside what it must be. No figure is judged."""

import asyncio
import importlib
import logging
import math
from itertools import islice
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield {name: importlib.import_module(name) for name in ("traffic", "overhead", "servers")}
    logging.disable(logging.NOTSET)


@pytest.fixture
def traffic(benchmarks):
    return benchmarks["traffic"]


@pytest.fixture
def overhead(benchmarks):
    return benchmarks["overhead"]


def test_the_table_is_printed(overhead, capsys):
    """Every row, with a figure for each door and what it must be, from two rounds of few requests."""
    overhead.main([], overhead.Size(rounds=2, requests=3, many_rules=20, imports=1))
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(overhead.TABLE) + 2
    for row, line in zip(overhead.TABLE, printed[1:], strict=False):
        name, rest = line[:30].strip(), line[30:].removesuffix("  MISSED")
        assert (name, rest[:19].strip()) == (row.name, row.lines)
        unit, asgi, wsgi, must = map(float, rest[19:].split())
        assert all(map(math.isfinite, (unit, asgi, wsgi)))
        assert must == row.must


def test_figures(overhead):
    """A figure is in sessions, or a cookie's share of them, or how many times the first setting."""
    assert overhead.as_sessions(2.0, [4.0]) == 2.0
    assert overhead.each_cookie(2.0, [1.0, 4.0, 10.0]) == 0.1
    assert overhead.times(2.0, [4.0, 6.0]) == 1.5


def asgi_lines(traffic, overhead, cookies, rules):
    sent = []

    async def send(message):
        sent.append(message)

    app = traffic.asgi_app(iter([traffic.asgi_headers(traffic.THREE)]))
    asyncio.run(overhead.Asgi(app, traffic.make_policy(rules))(traffic.scope_of(cookies), None, send))
    return [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]


def wsgi_lines(traffic, overhead, cookies, rules):
    sent = []

    def start_response(status, headers, exc_info=None):
        sent.extend(value for name, value in headers if name == "Set-Cookie")

    app = traffic.wsgi_app(iter([traffic.wsgi_headers(traffic.THREE)]))
    overhead.Wsgi(app, traffic.make_policy(rules))(traffic.environ_of(cookies), start_response)
    return sent


@pytest.mark.parametrize("lines_of", [asgi_lines, wsgi_lines])
@pytest.mark.parametrize("rules", ["RULES", "ENFORCING"])
@pytest.mark.parametrize(
    "kind", ["one visitor, same Cookie field", "known visitor, values change", "visitors never seen"]
)
def test_consent_is_found_and_acted_on(traffic, overhead, lines_of, rules, kind):
    """Of three lines one stays, one is shortened, one goes."""
    cookies = list(islice(traffic.TRAFFIC[kind](), 3))[-1]
    lines = lines_of(traffic, overhead, cookies, getattr(traffic, rules))
    assert lines[0] == traffic.THREE[0]
    assert [line.partition("=")[0] for line in lines] == ["session", "_ga"]
    assert "Max-Age=63072000" not in lines[1]


@pytest.mark.parametrize("lines_of", [asgi_lines, wsgi_lines])
def test_a_forged_token_grants_nothing(traffic, overhead, lines_of):
    cookies = next(traffic.forged_tokens())
    lines = lines_of(traffic, overhead, cookies, traffic.RULES)
    assert [line for line in lines if "Max-Age=0" not in line] == [traffic.THREE[0]]


def test_traffic_is_the_same_for_every_variant_and_never_repeats(traffic):
    for kind, fields in traffic.TRAFFIC.items():
        first, second = (list(islice(fields(), 50)) for _ in range(2))
        pages = [[field.partition("_ga_X1")[2] for field in run] for run in (first, second)]
        assert pages[0] == pages[1]
        assert len(set(first)) == (1 if kind == "one visitor, same Cookie field" else 50)
    assert len({tuple(lines) for lines in traffic.changing_expires()}) == 10_000


def test_more_cookies(traffic):
    assert next(traffic.more_cookies(30)()).count("_ga_Y") == 30


def test_memory_is_watched(overhead):
    """Random requests pass both doors; so few of them need little."""
    assert overhead.megabytes_grown(first=40, last=80, turn=10) < 15


def test_servers(benchmarks, capsys):
    """The server that the tests have is measured, and what is not installed is named."""
    servers = benchmarks["servers"]
    servers.main(["--rounds", "1", "--seconds", "0.05"])
    printed = capsys.readouterr().out.splitlines()[1:]
    assert {line.split()[0] for line in printed} == {"uvicorn", "gunicorn", "granian"}
    (none, three) = (line.split() for line in printed if line.startswith("uvicorn"))
    assert (none[2], three[2]) == ("0", "3")
    assert all(float(figure) > 0 for figure in (*none[3:7], *three[3:7]))
