"""Throughput behind real servers, one worker, as a share of the bare app's.

    python benchmarks/servers.py [--rounds 15] [--seconds 0.4]

One server process serves every variant of one app, each at a path of its own, and short windows of load take turns
among them. The bare app is there twice: what lies between the two is noise. The load comes from this process over
loopback, from another core than the server's. Servers that are not installed are left out, with a line. Linux only.
"""

import argparse
import asyncio
import importlib.util
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from traffic import (
    BODY,
    FIELDS,
    THREE,
    asgi_app,
    asgi_headers,
    changing_values,
    make_policy,
    session_read,
)

from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

LINES = {"0": (), "3": THREE}
CONNECTIONS, MOST_REQUESTS = 16, 50_000


def starlette_app(lines):
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    async def page(request):
        response = HTMLResponse(BODY)
        for line in lines:
            response.headers.append("Set-Cookie", line)
        return response

    return Starlette(routes=[Route("/{variant}", page)])


def flask_app(lines):
    from flask import Flask, Response

    app = Flask(__name__)

    @app.get("/<variant>")
    def page(variant):
        return Response(BODY, headers=[("Set-Cookie", line) for line in lines], mimetype="text/html")

    return app


def raw_app(lines):
    return asgi_app(cycle([asgi_headers(lines)]))


def asgi_variants(make_app):
    """By path: the bare app twice, in a session, in ours."""
    bare = {lines: make_app(LINES[lines]) for lines in LINES}
    apps = {f"/{name}-{lines}": app for lines, app in bare.items() for name in ("bare", "again")}
    apps |= {f"/session-{lines}": session_read(app) for lines, app in bare.items()}
    return apps | {f"/ours-{lines}": Asgi(app, make_policy()) for lines, app in bare.items()}


def wsgi_variants(make_app):
    """The same without a session: WSGI has none that is in wide use."""
    bare = {lines: make_app(LINES[lines]) for lines in LINES}
    apps = {f"/{name}-{lines}": app for lines, app in bare.items() for name in ("bare", "again")}
    return apps | {f"/ours-{lines}": Wsgi(app, make_policy()) for lines, app in bare.items()}


def asgi_site(make_app):
    logging.disable(logging.WARNING)
    apps = asgi_variants(make_app)

    async def dispatch(scope, receive, send):
        await apps[scope["path"]](scope, receive, send)

    return dispatch


def starlette_site():
    return asgi_site(starlette_app)


def raw_site():
    return asgi_site(raw_app)


def flask_site():
    logging.disable(logging.WARNING)
    apps = wsgi_variants(flask_app)
    return lambda environ, start_response: apps[environ["PATH_INFO"]](environ, start_response)


HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Server:
    """How a server is started with one worker, and the least share for an answer with 0 and with 3 lines."""

    module: str
    app: str
    arguments: tuple[str, ...]
    must: dict[str, float]
    variants: tuple[str, ...] = ("again", "session", "ours")

    def command(self, port: int) -> list[str]:
        arguments = (argument.format(port=port, here=HERE) for argument in self.arguments)
        return [sys.executable, "-m", self.module, *arguments]


UVICORN = "servers:starlette_site --factory --app-dir {here} --port {port} --no-access-log --log-level error --lifespan off"
GUNICORN = "servers:flask_site() --chdir {here} --bind 127.0.0.1:{port} --workers 1 --log-level error"
GRANIAN = "servers:raw_site --factory --working-dir {here} --interface asginl --port {port} --workers 1 --log-level error"
SERVERS = (
    Server("uvicorn", "Starlette", tuple(UVICORN.split()), {"0": 0.74, "3": 0.65}),
    Server("gunicorn", "Flask", tuple(GUNICORN.split()), {"0": 0.96, "3": 0.92}, ("again", "ours")),
    Server("granian", "raw ASGI", tuple(GRANIAN.split()), {"3": 0.50}),
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Keeps this process, and for good what it starts within, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(server: Server) -> Iterator[int]:
    """Its port, while it runs on one core, off which this process keeps. RuntimeError where it does not start."""
    port, (*others, last) = free_port(), sorted(os.sched_getaffinity(0))
    with on_cores({last}):
        process = subprocess.Popen(server.command(port), stdout=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        with on_cores(set(others) or {last}):
            yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(process: subprocess.Popen, port: int) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        if _answers(port):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args} does not start")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def requests_for(variant: str) -> list[bytes]:
    """Pages of a known visitor over plain http; the values of cookies change, and come again after a while."""
    header = "".join(f"{name}: {value}\r\n" for name, value in FIELDS.items())
    start = f"GET /{variant} HTTP/1.1\r\n{header}Cookie: "
    return [f"{start}{cookies}\r\n\r\n".encode() for cookies in islice(changing_values(secure=False), 2000)]


class Load:
    """Some connections that ask again as soon as they are answered, for a while."""

    def __init__(self, port: int, variant: str) -> None:
        self.port, self.requests, self.answered = port, cycle(requests_for(variant)), 0

    async def rate(self, seconds: float) -> float:
        """Answers a second, in a window of so many seconds or MOST_REQUESTS and until the last is answered."""
        self.answered, self.over = 0, asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, self.over.set)
        start = time.perf_counter()
        tasks = [asyncio.create_task(self._visit()) for _ in range(CONNECTIONS)]
        await self.over.wait()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        return self.answered / (time.perf_counter() - start)

    async def _visit(self) -> None:
        """One connection after the other: some servers close theirs after every answer."""
        loop = asyncio.get_running_loop()
        while not self.over.is_set():
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
            await connection.closed.wait()

    def count(self) -> None:
        self.answered += 1
        if self.answered >= MOST_REQUESTS:
            self.over.set()


class Connection(asyncio.Protocol):
    """Sends a request, reads to the end of the answer, and so on."""

    def __init__(self, load: Load) -> None:
        self.load, self.received, self.closed = load, b"", asyncio.Event()

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(next(self.load.requests))

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(BODY):
            self._next()

    def _next(self) -> None:
        if not self.received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answers {self.received[:100]!r}")
        closes = b"\r\nconnection: close" in self.received.lower()
        self.received = b""
        self.load.count()
        if closes or self.load.over.is_set():
            self.transport.close()
        else:
            self.transport.write(next(self.load.requests))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()


async def rates(port: int, variants: list[str], rounds: int, seconds: float) -> dict[str, float]:
    """The median rate of every variant over so many rounds, after one that warms up."""
    loads = {variant: Load(port, variant) for variant in variants}
    found = {variant: [] for variant in variants}
    for load in loads.values():
        await load.rate(seconds)
    for _ in range(rounds):
        for variant, load in loads.items():
            found[variant].append(await load.rate(seconds))
    return {variant: statistics.median(all) for variant, all in found.items()}


def shares(server: Server, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """By number of lines: the bare app's requests a second, and the share of it that each variant reaches."""
    names = [f"{name}-{lines}" for lines in LINES for name in ("bare", *server.variants)]
    with running(server) as port:
        found = asyncio.run(rates(port, names, rounds, seconds))
    return {
        lines: {"bare": found[f"bare-{lines}"]}
        | {name: found[f"{name}-{lines}"] / found[f"bare-{lines}"] for name in server.variants}
        for lines in LINES
    }


def print_shares(server: Server, rounds: int, seconds: float) -> None:
    for lines, share in shares(server, rounds, seconds).items():
        must = server.must.get(lines)
        figures = "".join(
            f" {share[name]:8.2f}" if name in share else f" {'-':>8}" for name in ("again", "session", "ours")
        )
        end = "" if must is None else f" {must:6}{'  MISSED' if share['ours'] < must else ''}"
        print(f"{server.module:10} {server.app:10} {lines:5} {share['bare']:8.0f}{figures}{end}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one window")
    options = parser.parse_args(arguments)
    print(
        f"{'server':10} {'app':10} {'lines':5} {'bare/s':>8} {'again':>8} {'session':>8} {'ours':>8} {'must':>6}"
    )
    for server in SERVERS:
        if importlib.util.find_spec(server.module) is None:
            print(f"{server.module:10} left out: not installed")
        else:
            print_shares(server, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
