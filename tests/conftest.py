"""What the tests share: a fixed time, a registry, visitors, and one way to run an app through both doors."""

import asyncio
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from wsgiref.validate import validator

import pytest
from hypothesis import settings

from consent_middleware import Consent, ConsentPolicy, Registry
from consent_middleware.asgi import ConsentMiddleware as AsgiConsentMiddleware
from consent_middleware.core.registry import Basis
from consent_middleware.wsgi import ConsentMiddleware as WsgiConsentMiddleware

# No test depends on how fast the machine is.
settings.register_profile("unhurried", deadline=None, max_examples=60)
settings.load_profile("unhurried")

# A new loop for each exchange would cost several times what the exchange costs.
LOOP = asyncio.Runner(loop_factory=asyncio.new_event_loop)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "a key for the tests alone"

REGISTRY = """
version = 2

[site]
id = "test"
hosts = ["www.example.com"]

[purposes.essential]
[purposes.preferences]
[purposes.analytics]
[purposes.social]
[purposes.advertising]
[purposes.measurement]
title = "Own measurement"
basis = "objection"
[purposes.later]
title = "Came with version 2"
since = 2

[vendors.google-analytics]
name = "Google Analytics"
[vendors.ads]
name = "Example Ads"
[vendors.late]
name = "Came with version 2"
purposes = ["analytics"]
since = 2

[[cookies]]
name = "session"
purpose = "essential"
[[cookies]]
name = "remember"
purpose = "essential"
lifetime = "30 days"
[[cookies]]
name = "cart_*"
purpose = "essential"
lifetime = "session"
[[cookies]]
name = "lang"
purpose = "preferences"
lifetime = "6 months"
secure = true
httponly = true
samesite = "lax"
[[cookies]]
name = "_ga"
purpose = "analytics"
vendor = "google-analytics"
[[cookies]]
name = "_ga_*"
purpose = "analytics"
vendor = "google-analytics"
[[cookies]]
name = "late"
purpose = "analytics"
vendor = "late"
[[cookies]]
name = "ads_id"
purpose = "advertising"
vendor = "ads"
[[cookies]]
name = "share"
purpose = "social"
[[cookies]]
name = "stats"
purpose = "measurement"
[[cookies]]
name = "fresh"
purpose = "later"
"""


@dataclass
class Answer:
    """What left the middleware: status, header fields as (lower-case name, value) text, and the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    seen: dict = field(default_factory=dict)

    def cookies(self) -> list[str]:
        return [value for name, value in self.headers if name == "set-cookie"]

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


@dataclass
class Exchanges:
    """Runs one exchange through a door: what a request holds, what the app answers, what leaves."""

    protocol: str
    policy: ConsentPolicy

    def run(
        self,
        headers=(),
        *,
        cookie: str | None = None,
        method: str = "GET",
        path: str = "/page",
        body: bytes = b"",
        secure: bool = True,
        status: int = 200,
        fields=(),
        on_request=None,
        policy: ConsentPolicy | None = None,
        mount: str = "",
    ) -> Answer:
        """`headers` is what the app answers with, `fields` and `cookie` what the request carries.

        `on_request` is called inside the app with its scope or environ.
        """
        fields = [*fields, *([("cookie", cookie)] if cookie is not None else [])]
        call = _through_asgi if self.protocol == "asgi" else _through_wsgi
        return call(
            policy or self.policy,
            request=(method, path, body, secure, fields, mount),
            response=(status, list(headers)),
            on_request=on_request,
        )

    def run_lines(self, *lines: str, **request) -> Answer:
        """The same for Set-Cookie lines alone."""
        return self.run([("Set-Cookie", line) for line in lines], **request)

    def visible(self, cookie: str, **request) -> str | None:
        """The `Cookie` value that the app sees."""
        return self.run(cookie=cookie, **request).seen.get("cookie")


def _through_wsgi(policy, *, request, response, on_request) -> Answer:
    method, path, body, secure, fields, mount = request
    status, headers = response
    answer, seen = Answer(0, []), {}

    def app(environ, start_response):
        seen["cookie"] = environ.get("HTTP_COOKIE")
        if on_request:
            on_request(environ)
        start_response(f"{status} Answer", [("Content-Type", "text/html"), *headers])
        return [b"hello"]

    def start_response(line, leaving, exc_info=None):
        assert type(leaving) is list
        answer.status = int(line.split()[0])
        answer.headers = [(name.lower(), value) for name, value in leaving]
        return lambda data: None

    from io import BytesIO

    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": mount,
        "PATH_INFO": path.partition("?")[0],
        "QUERY_STRING": path.partition("?")[2],
        "SERVER_NAME": "www.example.com",
        "SERVER_PORT": "443" if secure else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "www.example.com",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if secure else "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": __import__("sys").stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in fields:
        key = name.upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = environ[key] + separator + value if key in environ else value
    result = WsgiConsentMiddleware(app, policy)(environ, start_response)
    answer.body = b"".join(result)
    if hasattr(result, "close"):
        result.close()
    answer.seen = seen
    return answer


def _through_asgi(policy, *, request, response, on_request) -> Answer:
    method, path, body, secure, fields, mount = request
    status, headers = response
    answer, seen = Answer(0, []), {}

    async def app(scope, receive, send):
        values = [v.decode("latin-1") for n, v in scope["headers"] if n.lower() == b"cookie"]
        seen["cookie"] = "; ".join(values) if values else None
        if on_request:
            on_request(scope)
        encoded = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]
        encoded = [(b"content-type", b"text/html"), *encoded]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": b"hello"})

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            assert all(
                type(n) is bytes and type(v) is bytes and n == n.lower() for n, v in message["headers"]
            )
            answer.headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in message["headers"]]
        else:
            answer.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https" if secure else "http",
        "path": mount + path.partition("?")[0],
        "raw_path": (mount + path).partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode("latin-1"),
        "root_path": mount,
        "headers": [(b"host", b"www.example.com")]
        + [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields],
        "client": ("127.0.0.1", 5),
        "server": ("www.example.com", 443 if secure else 80),
    }
    before = dict(scope)
    LOOP.run(AsgiConsentMiddleware(app, policy)(scope, receive, send), context=copy_context())
    assert scope == before, "the server's scope was changed"
    answer.seen = seen
    return answer


def policy_of(text: str = REGISTRY, **options) -> ConsentPolicy:
    """A policy over a registry text, at the tests' time."""
    options.setdefault("secret_keys", [KEY])
    options.setdefault("clock", lambda: NOW)
    policy = ConsentPolicy(Registry.from_text(text), **options)
    # A middleware makes ready what a policy says, before a test breaks any of it.
    WsgiConsentMiddleware(None, policy)
    return policy


@pytest.fixture(scope="session", autouse=True)
def loop():
    """Closes the loop that all exchanges ran in."""
    yield
    LOOP.close()


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def registry_text() -> str:
    return REGISTRY


@pytest.fixture(scope="session")
def make_policy():
    return policy_of


@pytest.fixture(scope="session")
def policy() -> ConsentPolicy:
    return policy_of()


@pytest.fixture(params=["wsgi", "asgi"])
def exchanges(request, policy) -> Exchanges:
    return Exchanges(request.param, policy)


@pytest.fixture(scope="session")
def both_doors(policy) -> tuple[Exchanges, Exchanges]:
    return Exchanges("wsgi", policy), Exchanges("asgi", policy)


@pytest.fixture(scope="session")
def wsgi_lint():
    return validator


@pytest.fixture(scope="session")
def visitors(policy) -> dict[str, str | None]:
    """Cookie values of visitors: what each sends of a consent cookie."""
    everything = [one.id for one in policy.registry.purposes.values() if one.basis is Basis.CONSENT]
    five_months_ago = NOW - timedelta(days=153)

    def cookie(consent: Consent, when: datetime = NOW) -> str:
        consent = replace(consent, measured_since=five_months_ago)
        return policy.consent_cookie(consent, when).partition(";")[0]

    return {
        "new": None,
        "all": cookie(Consent(decided_at=five_months_ago, version=2, purposes=everything, id="all")),
        "some": cookie(Consent(decided_at=five_months_ago, version=2, purposes=["analytics"], id="some")),
        "none": cookie(Consent(decided_at=five_months_ago, version=2, refused_purposes=["measurement"])),
        "picky": cookie(
            Consent(
                decided_at=five_months_ago,
                version=2,
                purposes=everything,
                refused_vendors=["ads"],
                refused_cookies=["_ga"],
                id="picky",
            )
        ),
        "old-version": cookie(Consent(decided_at=five_months_ago, version=1, purposes=everything, id="old")),
        "ended": cookie(
            Consent(decided_at=NOW - timedelta(days=400), version=2, purposes=everything, id="e")
        ),
        "future": cookie(Consent(decided_at=NOW + timedelta(minutes=2), version=2, purposes=everything)),
        "forged": "__Host-consent=eyJ0IjoxfQ." + "A" * 43,
    }
