"""What the benchmarks send and what the apps answer: one site, the kinds of visitors, the kinds of answers.

A kind of traffic is an endless iterator of Cookie fields. Two iterators of one kind give the same fields, so
that every variant of an app is asked the same.
"""

import base64
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count, repeat

import itsdangerous
from starlette.middleware.sessions import SessionMiddleware

from consent_middleware import Consent, ConsentPolicy, Registry

SECRET = "the benchmark's own signing key"
BODY = b"the end of the page"
"""Of every answer; no header ends like this."""
HOST = "www.example.com"
RULES = """
presets = ["flask"]
[site]
hosts = ["www.example.com"]
[vendors.statistics]
name = "Example Statistics"
hosts = ["statistics.example"]
[[cookies]]
name = "_ga"
purpose = "analytics"
[[cookies]]
name = "_ga_*"
purpose = "analytics"
vendor = "statistics"
[[cookies]]
name = "theme"
purpose = "preferences"
[[cookies]]
name = "ads_id"
purpose = "advertising"
"""
ENFORCING = RULES + '[gating]\nmode = "enforce"\n'
FIELDS = {
    "Host": HOST,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:152.0) Gecko/20100101 Firefox/152.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,fr;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
}
"""The header of a browser that follows a link of the site, but for its cookies."""


def rules_text(number: int) -> str:
    """The site's registry with `number` rules more, every tenth of which is a pattern."""
    names = (f"tag_{n}_*" if n % 10 == 0 else f"cookie_{n}" for n in range(number))
    return RULES + "".join(f'[[cookies]]\nname = "{name}"\npurpose = "advertising"\n' for name in names)


def make_policy(rules: str = RULES, secret: str = SECRET) -> ConsentPolicy:
    """A policy that remembers nothing yet."""
    return ConsentPolicy(Registry.from_text(rules), secret_keys=[secret])


class Visitors:
    """Signs what visitors bring: session and consent cookie, of the site or forged."""

    def __init__(self, *, secret: str = SECRET, secure: bool = True) -> None:
        self.policy, self.secure, self.now = make_policy(secret=secret), secure, datetime.now(UTC)
        signed = itsdangerous.TimestampSigner(SECRET).sign(base64.b64encode(b'{"user": 1}'))
        self.session = f"session={signed.decode()}"

    def consent(self, number: int) -> str:
        """The consent cookie of one visitor, who agreed to some purposes within the last day or so."""
        decided_at = self.now - timedelta(seconds=number % 100_000)
        purposes = ["analytics", "preferences"]
        consent = Consent(decided_at=decided_at, version=1, purposes=purposes, id=f"visitor-{number:014}")
        return self.policy.consent_cookie(consent, self.now, secure=self.secure).partition(";")[0]

    def field(self, consent: str, page: int) -> str:
        """The Cookie field on one page: the counter of Google Analytics is another on each."""
        return f"{self.session}; {consent}; _ga=GA1.1.72.17; _ga_X1=GS1.1.{page}.{page * 7919}; theme=dark"


def one_visitor() -> Iterator[str]:
    visitors = Visitors()
    return repeat(visitors.field(visitors.consent(0), 0))


def changing_values(*, secure: bool = True) -> Iterator[str]:
    visitors = Visitors(secure=secure)
    consent = visitors.consent(0)
    return (visitors.field(consent, page) for page in count())


def new_visitors() -> Iterator[str]:
    visitors = Visitors()
    return (visitors.field(visitors.consent(number), number) for number in count(1))


def forged_tokens() -> Iterator[str]:
    """Well-formed tokens, each signed with a key that is not the site's."""
    strangers = Visitors(secret="a stranger's signing key, not ours")
    return (strangers.field(strangers.consent(number), number) for number in count(1))


def more_cookies(number: int) -> Callable[[], Iterator[str]]:
    """Makes the traffic of a visitor with `number` cookies more, whose values change."""

    def fields() -> Iterator[str]:
        for page, field in enumerate(changing_values()):
            yield field + "".join(f"; _ga_Y{n}=GS1.1.{page * n}" for n in range(number))

    return fields


TRAFFIC: dict[str, Callable[[], Iterator[str]]] = {
    "one visitor, same Cookie field": one_visitor,
    "known visitor, values change": changing_values,
    "visitors never seen": new_visitors,
    "forged tokens": forged_tokens,
}

THREE = (
    "session=eyJ1c2VyIjoxfQ.ahdJQg.C2rW5bq0s9; HttpOnly; Path=/; SameSite=Lax",
    "_ga=GA1.1.72.17; Path=/; Max-Age=63072000",
    "ads_id=7f0c2f4e9d; Path=/; Max-Age=315360000",
)


def changing_expires() -> list[list[str]]:
    """Each answer is a second later than the one before."""
    now = datetime.now(UTC).replace(microsecond=0)
    return [_expiring(now + timedelta(seconds=second)) for second in range(10_000)]


def _expiring(now: datetime) -> list[str]:
    starts = (line.partition("; Max-Age")[0] for line in THREE)
    return [
        f"{start}; Expires={format_datetime(now + timedelta(days=days), usegmt=True)}"
        for start, days in zip(starts, (30, 730, 3650), strict=True)
    ]


ANSWERS: dict[str, Callable[[], list[list[str]]]] = {
    "0": lambda: [[]],
    "3": lambda: [list(THREE)],
    "3, Expires change": changing_expires,
}
"""The Set-Cookie lines of one answer after the other, and then from the first again."""


def asgi_headers(lines: Iterable[str]) -> list[tuple[bytes, bytes]]:
    plain = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(BODY))]
    return plain + [(b"set-cookie", line.encode()) for line in lines]


def wsgi_headers(lines: Iterable[str]) -> list[tuple[str, str]]:
    plain = [("Content-Type", "text/html"), ("Content-Length", str(len(BODY)))]
    return plain + [("Set-Cookie", line) for line in lines]


def asgi_app(headers: Iterator[list[tuple[bytes, bytes]]]):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": list(next(headers))})
        await send({"type": "http.response.body", "body": BODY})

    return app


def wsgi_app(headers: Iterator[list[tuple[str, str]]]):
    def app(environ, start_response):
        start_response("200 OK", list(next(headers)))
        return [BODY]

    return app


def session_read(app):
    """The unit of the figures: Starlette's session, verified and read, not written."""

    async def reading(scope, receive, send):
        scope["session"].get("user")
        await app(scope, receive, send)

    return SessionMiddleware(reading, SECRET)


def scope_of(cookies: str, path: str = "/", fields: dict[str, str] = FIELDS) -> dict:
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "scheme": "https",
        "query_string": b"",
        "headers": [*headers, (b"cookie", cookies.encode())],
    }


def environ_of(cookies: str, path: str = "/", fields: dict[str, str] = FIELDS) -> dict:
    headers = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in fields.items()}
    line = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "wsgi.url_scheme": "https"}
    return {**line, **headers, "HTTP_COOKIE": cookies}


class AnyTraffic:
    """Requests and answers in which everything is random, but half of the consent cookies are good."""

    def __init__(self, seed: int) -> None:
        self.random, self.visitors = random.Random(seed), Visitors()

    def text(self) -> str:
        return f"{self.random.getrandbits(64):x}"

    def name(self) -> str:
        return self.random.choice(("_ga", "_ga_", "theme", "x")) + self.random.choice(("", self.text()))

    def request(self) -> tuple[str, str, dict[str, str]]:
        """Cookies, path and fields, as `scope_of` and `environ_of` take them."""
        consent = self.visitors.consent(self.random.getrandbits(40))
        forged = consent[: self.random.randrange(len(consent))] + self.text()
        pairs = [f"{self.name()}={self.text()}" for _ in range(self.random.randrange(8))]
        fields = {
            **FIELDS,
            "Host": f"{self.text()}.example",
            "User-Agent": self.text(),
            "Accept": self.text(),
        }
        return "; ".join([*pairs, self.random.choice((consent, forged))]), f"/{self.text()}", fields

    def lines(self) -> list[str]:
        return [self.line() for _ in range(self.random.randrange(4))]

    def line(self) -> str:
        lifetime = ("", f"; Max-Age={self.random.getrandbits(31)}", "; Max-Age=0", f"; Expires={self.text()}")
        return f"{self.name()}={self.text()}; Path=/{self.text()}{self.random.choice(lifetime)}"
