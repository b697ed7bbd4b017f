"""One store per test, on SQLite and on a private PostgreSQL server."""

import inspect
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.consent import Consent
from consent_middleware.core.periods import Period
from consent_middleware.core.registry import Basis, CookieRule, LocalizedText, Purpose, Registry, Site, Vendor
from consent_middleware.records.event import Act, Source, make_event
from consent_middleware.records.snapshot import snapshot_of
from consent_middleware.records.store import open_store

NOW = datetime(2026, 11, 23, 9, 30, 0, 250_000, tzinfo=UTC)
_FACTS = inspect.signature(make_event).parameters
KEYS = ("a key that signs all records", "the key of last year, kept")


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL cluster of our own, on a Unix socket, without the network."""
    programs = _postgres_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    # A socket's path must be short, and root may not run the server. What is killed here are clients, never the
    # machine: the server need not flush.
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(home, "postgres", "postgres")
    setup = [
        programs / "initdb",
        "-D",
        home / "data",
        "-A",
        "trust",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    subprocess.run([*setup, "--locale=C.UTF-8"], check=True, capture_output=True, cwd=home, **user)
    options = f"-k {home} -c listen_addresses='' -c max_connections=60 -c fsync=off"
    control = [programs / "pg_ctl", "-D", home / "data", "-w"]
    subprocess.run(
        [*control, "-l", home / "log", "-o", options, "start"],
        check=True,
        capture_output=True,
        cwd=home,
        **user,
    )
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={home}"
    finally:
        subprocess.run(
            [*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=home, **user
        )
        shutil.rmtree(home)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/consent.db"
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def empty_postgres(postgres):
    """The server's database, empty: cheaper than a new one for each test."""
    server = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    server.dispose()
    return postgres


@pytest.fixture
def stores():
    """Opens stores, and closes them at the end."""
    opened = []

    def make(url, keys=KEYS):
        opened.append(open_store(url, keys))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(url, stores, snapshot):
    """An empty store that knows the registry of these tests."""
    store = stores(url)
    store.save_snapshot(snapshot)
    return store


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def keys():
    return KEYS


@pytest.fixture(scope="session")
def registry():
    """A registry with one purpose of each basis."""
    return Registry(
        version=2,
        site=Site(
            id="example",
            name=LocalizedText.of("Example"),
            hosts=("www.example.com",),
            policy_updated=NOW.date(),
        ),
        purposes={
            "essential": Purpose(id="essential", title=LocalizedText.of("Essential"), basis=Basis.ESSENTIAL),
            "analytics": Purpose(
                id="analytics", title=LocalizedText.of({"en": "Audience", "fr": "Mesure d'audience"})
            ),
            "advertising": Purpose(
                id="advertising", title=LocalizedText.of("Advertising"), sale=True, since=2
            ),
            "counting": Purpose(id="counting", title=LocalizedText.of("Counting"), basis=Basis.OBJECTION),
        },
        vendors={
            "google": Vendor(
                id="google", name=LocalizedText.of("Google"), purposes=("analytics", "advertising")
            ),
            "host": Vendor(id="host", name=LocalizedText.of("Our host"), purposes=("essential",)),
        },
        cookies=(
            CookieRule(name="session", purpose="essential", lifetime="session"),
            CookieRule(
                name="_ga_*", purpose="analytics", vendor="google", lifetime=Period.parse("13 months")
            ),
            CookieRule(name="ads", purpose="advertising"),
        ),
    )


@pytest.fixture(scope="session")
def compiled(registry):
    return compile_registry(registry)


@pytest.fixture(scope="session")
def snapshot(registry):
    return snapshot_of(registry, "hash of the templates")


@pytest.fixture(scope="session")
def event(compiled, snapshot):
    """Makes the event of an ordinary choice; keywords replace facts, or else fields of the event."""
    numbers = iter(range(1, 10_000_000))

    def make(**changes):
        number = next(numbers)
        facts = {
            "random": number.to_bytes(10, "big") + bytes(6),
            "consent": Consent(decided_at=NOW, version=2, purposes=("analytics",), id=f"consent-{number}"),
            "compiled": compiled,
            "snapshot": snapshot.hash,
            "source": Source.BANNER,
            "action": Act.SAVE,
            "token": f"token-{number}",
            "now": NOW,
            "host": "www.example.com",
            "language": "en",
        }
        known = {name: changes.pop(name) for name in tuple(changes) if name in _FACTS}
        return replace(make_event(**facts | known), **changes)

    return make
