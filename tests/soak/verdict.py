"""Whether what the middleware lets through keeps the promises, as the engines store it.

Who may store what, and until when, is worked out here from `registry.toml` by hand, so that the library
is measured against the registry and not against itself.
"""

import asyncio
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from engines import Engine, Stored
from grammar import HOST, WellFormed

from consent_middleware import Action, Consent, ConsentPolicy
from consent_middleware.asgi import ConsentMiddleware as AsgiMiddleware
from consent_middleware.wsgi import ConsentMiddleware as WsgiMiddleware

REGISTRY = Path(__file__).with_name("registry.toml")
_FILE = tomllib.loads(REGISTRY.read_text("utf-8"))
_BASIS = {purpose: table["basis"] for purpose, table in _FILE["purposes"].items()}
_RULES = {rule["name"].encode().decode("latin-1"): rule for rule in _FILE["cookies"]}
_SECONDS = {"minutes": 60, "hours": 3600, "days": 86_400, "weeks": 604_800}
CLOCK = 2.0
"""Seconds by which an engine's clock may be off."""


def rule_of(name: str) -> dict[str, Any] | None:
    """The rule for a name: the exact one, else the pattern with most letters. No two of ours tie."""
    if name in _RULES:
        return _RULES[name]
    halves = ((rule.split("*"), rule) for rule in _RULES if "*" in rule)
    fits = [
        rule
        for (head, tail), rule in halves
        if name.startswith(head) and name.endswith(tail) and len(name) >= len(head + tail)
    ]
    return _RULES[max(fits, key=len)] if fits else None


def months_after(moment: datetime, months: int) -> datetime:
    """The same day and time so many calendar months on, or the last day of a month without that day."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return moment.replace(year=year, month=month + 1)


class Visitor(NamedTuple):
    """Somebody with or without a choice, and the rules whose cookies that choice lets in."""

    name: str
    consent: Consent | None
    allowed: frozenset[str]

    def limit(self, name: str, now: datetime) -> float | None:
        """The latest end of a cookie of this name; None if there may be none.

        Minus infinity is before every end: a cookie that may only last a session.
        """
        rule = rule_of(name)
        if rule is None or rule["name"] not in self.allowed:
            return None
        if rule.get("lifetime") == "session":
            return -math.inf
        ends = [months_after(now, 13)]
        if self.consent and _BASIS[rule["purpose"]] == "consent":
            ends.append(months_after(self.consent.decided_at, 13))
        if "lifetime" in rule:
            number, unit = rule["lifetime"].split()
            months = {"months": 1, "month": 1, "years": 12, "year": 12}.get(unit)
            seconds = timedelta(seconds=int(number) * _SECONDS.get(unit, 0))
            ends.append(months_after(now, int(number) * months) if months else now + seconds)
        return min(ends).timestamp()


def visitors(now: datetime) -> tuple[Visitor, ...]:
    """Nobody asked, somebody choosy, and somebody who granted everything five months ago."""
    names = {rule["name"]: rule["purpose"] for rule in _FILE["cookies"]}
    unasked = frozenset(name for name, purpose in names.items() if purpose in {"essential", "measurement"})
    essential = frozenset(name for name, purpose in names.items() if purpose == "essential")
    choosy = Consent(
        decided_at=now - timedelta(days=60),
        version=_FILE["version"],
        purposes=("analytics",),
        refused_purposes=("measurement",),
        refused_cookies=("_gid",),
        id="choosy",
    )
    generous = Consent(
        decided_at=months_after(now, -5),
        version=_FILE["version"],
        purposes=("preferences", "analytics", "advertising"),
        id="generous",
    )
    return (
        Visitor("nothing chosen", None, unasked),
        Visitor("some granted", choosy, essential | {"_ga", "_ga_*", "ab_*_x"}),
        Visitor("all granted", generous, frozenset(names)),
    )


class Outcome(NamedTuple):
    """The Set-Cookie lines that left for one that the app emitted; whether it was said to be kept."""

    emitted: tuple[str, ...]
    kept: bool


Enforce = Callable[[Visitor, Sequence[str], datetime], Sequence[Outcome]]
"""The middleware as the verdict sees it: each line alone in an answer to this visitor at this time."""


class Product:
    """The middleware behind both doors, built as a site would build it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.decisions: list[Any] = []
        self.line = ""
        self.policy = ConsentPolicy.from_file(
            REGISTRY,
            secret_keys=["soak soak soak soak soak soak"],
            clock=lambda: self.now,
            on_decision=lambda decision, _: self.decisions.append(decision),
        )
        self.wsgi = WsgiMiddleware(self._wsgi_app, self.policy)
        self.asgi = AsgiMiddleware(self._asgi_app, self.policy)

    def by_wsgi(self, visitor: Visitor, lines: Sequence[str], now: datetime) -> list[Outcome]:
        self.now, cookie = now, self._cookie(visitor)
        return [self._by_wsgi(line, cookie) for line in lines]

    def by_asgi(self, visitor: Visitor, lines: Sequence[str], now: datetime) -> list[Outcome]:
        self.now, cookie = now, self._cookie(visitor)

        async def each() -> list[Outcome]:
            return [await self._by_asgi(line, cookie) for line in lines]

        # In a thread of its own: Playwright keeps a loop running in this one.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, each()).result()

    def _cookie(self, visitor: Visitor) -> str:
        if visitor.consent is None:
            return ""
        return self.policy.consent_cookie(visitor.consent, self.now, secure=True).split(";")[0]

    def _outcome(self, headers: Iterable[tuple[str, str]]) -> Outcome:
        values = [value for name, value in headers if name.strip().lower() == "set-cookie"]
        emitted = tuple(value for value in values if not self._is_ours(value))
        kept = any(decision.action is Action.KEEP for decision in self.decisions)
        return Outcome(emitted, kept)

    def _is_ours(self, value: str) -> bool:
        """Whether the middleware set its own cookie: it holds since when a visitor is measured."""
        name, _, rest = value.partition("=")
        token = rest.partition(";")[0]
        return name == "__Host-consent" and self.policy.read_consent(token, self.now) is not None

    def _wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Set-Cookie", self.line)])
        return [b""]

    def _by_wsgi(self, line: str, cookie: str) -> Outcome:
        self.line, answers = line, []
        self.decisions.clear()
        environ = {
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "",
            "SERVER_NAME": HOST, "SERVER_PORT": "443", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": HOST,
            "HTTP_SEC_FETCH_SITE": "same-origin", "wsgi.url_scheme": "https", "REMOTE_ADDR": "127.0.0.1",
        } | ({"HTTP_COOKIE": cookie} if cookie else {})  # fmt: skip
        body = self.wsgi(environ, lambda status, headers, exc_info=None: answers.append((status, headers)))
        list(body)
        status, headers = answers[-1]
        assert status == "200 OK", status
        return self._outcome(headers)

    async def _asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        line = self.line.encode("latin-1")
        headers = [(b"content-type", b"text/html"), (b"set-cookie", line)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _by_asgi(self, line: str, cookie: str) -> Outcome:
        self.line, sent = line, []
        self.decisions.clear()
        headers = [(b"host", HOST.encode()), (b"sec-fetch-site", b"same-origin")]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "method": "GET", "scheme": "https", "path": "/", "raw_path": b"/", "query_string": b"",
            "root_path": "", "server": (HOST, 443), "client": ("127.0.0.1", 1),
            "headers": [*headers, *([(b"cookie", cookie.encode())] if cookie else [])],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.asgi(scope, receive, send)
        assert sent[0]["status"] == 200, sent[0]
        return self._outcome((n.decode("latin-1"), v.decode("latin-1")) for n, v in sent[0]["headers"])


@dataclass(frozen=True)
class Violation:
    """A promise broken: what kind, for whom, who saw it, by which line."""

    kind: str
    engine: str
    visitor: str
    line: str
    emitted: tuple[str, ...]
    detail: str = ""

    def __str__(self) -> str:
        left = ", ".join(map(repr, self.emitted)) or "nothing"
        return (
            f"{self.kind} [{self.engine}; {self.visitor}] {self.line!r}\n    left: {left}\n    {self.detail}"
        )


@dataclass
class Tally:
    """How much an engine was given and what it stored."""

    lines: int = 0
    cookies: int = 0
    violations: int = 0


class Court:
    """Judges batches of lines: `doors` are ways into the same middleware, `engines` the judges."""

    def __init__(self, doors: Sequence[Enforce], engines: Sequence[Engine]) -> None:
        self.doors, self.engines = doors, engines
        self.tallies = {engine.name: Tally() for engine in engines}

    def judge(self, lines: Sequence[str], now: datetime) -> list[Violation]:
        """Every promise that is broken for any of these lines and any visitor."""
        people = visitors(now)
        outcomes = {visitor: self.doors[0](visitor, lines, now) for visitor in people}
        found = [*self.at_the_doors(lines, outcomes, now)]
        emitted = list(dict.fromkeys(text for each in outcomes.values() for o in each for text in o.emitted))
        for engine in self.engines:
            tally = self.tallies[engine.name]
            jars = dict(zip(emitted, engine.stored(emitted), strict=True))
            seen = [*self.in_the_jars(engine, jars, lines, outcomes, now)]
            tally.lines += len(emitted)
            tally.cookies += sum(map(len, jars.values()))
            tally.violations += len(seen)
            found += seen
        return found

    def at_the_doors(
        self, lines: Sequence[str], outcomes: dict[Visitor, Sequence[Outcome]], now: datetime
    ) -> Iterator[Violation]:
        """What needs no reader: a kept line is the same line, and all doors do the same."""
        for visitor, each in outcomes.items():
            for line, outcome in zip(lines, each, strict=True):
                if outcome.kept and outcome.emitted != (line,):
                    yield Violation("kept is not identical", "octets", visitor.name, line, outcome.emitted)
            for door in self.doors[1:]:
                for line, one, other in zip(lines, each, door(visitor, lines, now), strict=True):
                    if one != other:
                        yield Violation(
                            "doors differ", "octets", visitor.name, line, one.emitted, repr(other)
                        )

    def in_the_jars(
        self,
        engine: Engine,
        jars: dict[str, list[Stored]],
        lines: Sequence[str],
        outcomes: dict[Visitor, Sequence[Outcome]],
        now: datetime,
    ) -> Iterator[Violation]:
        """What this engine stored of what left, held against the choice of each visitor."""
        late = CLOCK + (datetime.now(UTC) - now).total_seconds()
        for visitor, each in outcomes.items():
            for line, outcome in zip(lines, each, strict=True):
                for cookie in (cookie for text in outcome.emitted for cookie in jars[text]):
                    if kind := misdeed(cookie, visitor, now, late):
                        yield Violation(kind, engine.name, visitor.name, line, outcome.emitted, repr(cookie))

    def lost(self, lines: Sequence[WellFormed], now: datetime) -> Iterator[Violation]:
        """Lines as frameworks write them that did not fare as the registry plainly says."""
        texts = [line.text for line in lines]
        for visitor in visitors(now):
            for line, outcome in zip(lines, self.doors[0](visitor, texts, now), strict=True):
                limit = visitor.limit(line.name, now)
                if limit is None:
                    fine = outcome.emitted == ()
                elif line.life is None or now.timestamp() + line.life <= limit:
                    fine = outcome.emitted == (line.text,)
                else:
                    fine = len(outcome.emitted) == 1 and outcome.emitted != (line.text,)
                if not fine:
                    yield Violation(
                        "misjudged", "registry", visitor.name, line.text, outcome.emitted, str(limit)
                    )


def misdeed(cookie: Stored, visitor: Visitor, now: datetime, late: float) -> str | None:
    """What is wrong with this cookie in this visitor's store, if anything; `late` is how old `now` is."""
    # A nameless cookie comes back as its bare value, and a server reads `name=value` (RFC 6265bis, 5.8.3).
    name = cookie.name or cookie.value.partition("=")[0].strip(" \t")
    limit = visitor.limit(name, now)
    if limit is None:
        return "stored without consent"
    if cookie.expires is not None and cookie.expires > limit + late:
        return "outlives the limit"
    return None
