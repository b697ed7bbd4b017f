"""What differs between SQLite and PostgreSQL: connecting, transactions, and how a range is closed.

Records are written into the range that is open. A range is closed by opening the next one; from then on it
gets no more records, which is what makes it possible to seal it. SQLite has one writer at a time, so there
is nothing to it. In PostgreSQL every writer holds a shared advisory lock on the range it writes in, until it
has committed; whoever closes the range then waits for those few, while all others write in the next one.
Nobody ever waits for the closer.
"""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.util import asbool

from ..errors import ConfigurationError, RecordStoreError
from .schema import ranges

_BUSY_SECONDS = 5
_NETWORK_MILLISECONDS = 10_000
_DRAIN_SECONDS = 60
# Advisory locks share one space per database; a store takes its corner of it from its own table.
_SPACE: ColumnElement[int] = literal_column("'consent_events'::regclass::oid::int4")
_SEALING = -1
_MOST_PORT = 65_535
_WRITE = "write sqlite:///consent.db, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
_NO_URL = f"this is no URL of a database; {_WRITE}, with each of @ : / ? # % in the password percent-encoded"
_LONGEST_OPTION = 40
_SQLITE_OPTIONS = frozenset(
    {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri"}
)
"""Of the driver, as SQLAlchemy passes them on."""
_SQLITE_ADDRESS_OPTIONS = frozenset({"cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs"})
"""Of SQLite's own addresses, with `uri=true` (SQLite, "Uniform Resource Identifiers")."""
_MIGRATING = 0x434F4E53454E5453


class Database(ABC):
    """A database that can hold records. Every failure of it is a `RecordStoreError`."""

    engine: Engine

    def _open(self, url: URL, **options: Any) -> None:
        # Parameters are tokens and ids: no message repeats them.
        self.engine = create_engine(url, pool_timeout=_BUSY_SECONDS, hide_parameters=True, **options)
        given = url.password, url.query.get("password"), url.query.get("sslpassword")
        self._passwords = [str(password) for password in given if password]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the store and streams what it reads."""
        with self._reported(), self.engine.connect() as connection:
            yield self._snapshot(connection)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, durably."""
        with self._reported(), self.engine.connect() as connection, self._writer(connection).begin():
            yield connection

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = _message(error.orig if isinstance(error, DBAPIError) else error)
            for password in self._passwords:
                cause = cause.replace(password, "***")
            raise RecordStoreError(f"the record store failed: {cause}") from error

    @abstractmethod
    def _snapshot(self, connection: Connection) -> Connection: ...

    @abstractmethod
    def _writer(self, connection: Connection) -> Connection: ...

    @abstractmethod
    def claim(self, connection: Connection) -> int:
        """The number of the open range, which stays open for this transaction's records."""

    @abstractmethod
    def drain(self, range_no: int) -> None:
        """Wait until nobody writes in a range that was closed."""

    @abstractmethod
    def alone(self, connection: Connection, *, migrating: bool = False) -> None:
        """Keep other sealers (or other migrations) out until the transaction ends; writers go on."""

    def close(self) -> None:
        """Close all connections that are not in use. The next use opens new ones."""
        self.engine.dispose()


class Sqlite(Database):
    """An embedded database: write-ahead log, every commit flushed to the disk."""

    def __init__(self, url: URL) -> None:
        options = url.query.get("mode"), url.query.get("vfs")
        if not url.database or ":memory:" in url.database or "memory" in options or "memdb" in options:
            raise ConfigurationError(
                "records: a store in memory proves nothing; name a file, as in sqlite:///consent.db"
            )
        self._open(url, connect_args=_unless_given(url, timeout=_BUSY_SECONDS))
        event.listen(self.engine, "do_connect", _make_private)
        event.listen(self.engine, "connect", _connected)
        event.listen(self.engine, "begin", _begin)

    def _snapshot(self, connection: Connection) -> Connection:
        return connection

    def _writer(self, connection: Connection) -> Connection:
        return connection.execution_options(consent_writes=True)

    def claim(self, connection: Connection) -> int:
        """The open range: nobody else writes."""
        return open_range(connection)

    def drain(self, range_no: int) -> None:
        """Nothing to wait for: the range was closed between two writers."""

    def alone(self, connection: Connection, *, migrating: bool = False) -> None:
        """A writer is alone already."""


def _make_private(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
    """Make the database file with mode 0600 if it is missing; SQLite gives its other files the same mode.

    What keeps a file from being made is left to SQLite to report.
    """
    path, _, query = str(arguments[0]).partition("?")
    if options.get("uri") and path.startswith("file:"):
        if parse_qs(query).get("mode", ["rwc"]) != ["rwc"]:
            return
        path = unquote(path.removeprefix("file:").partition("#")[0])
        path = path.removeprefix("//localhost") if path.startswith("//localhost/") else path
    else:
        path = str(arguments[0])
    # SQLite follows a link to a file that is not there yet, and exclusive creation does not.
    file = Path(os.path.realpath(path))
    with suppress(OSError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # The umask may have taken from the owner as well.
        file.chmod(0o600)


def _connected(connection: Any, _record: object) -> None:
    # The driver would begin transactions by its own rules; `_begin` does it instead.
    connection.isolation_level = None
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _begin(connection: Connection) -> None:
    # A reader that turns writer fails at once when another wrote in between; a writer from the start waits.
    writes = connection.get_execution_options().get("consent_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Postgresql(Database):
    """A server shared by many machines; durability as the server promises (`synchronous_commit`)."""

    def __init__(self, url: URL) -> None:
        # Without these a lost network would hold a visitor's request for many minutes.
        patience = _unless_given(url, connect_timeout=_BUSY_SECONDS, tcp_user_timeout=_NETWORK_MILLISECONDS)
        self._open(url, pool_pre_ping=True, isolation_level="READ COMMITTED", connect_args=patience)
        self._range = 1

    def _snapshot(self, connection: Connection) -> Connection:
        return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _writer(self, connection: Connection) -> Connection:
        return connection

    def claim(self, connection: Connection) -> int:
        """The open range, under a shared lock on it."""
        while True:
            claimed = self._range
            held = func.pg_try_advisory_xact_lock_shared(_SPACE, claimed)
            locked = connection.execute(select(_patience(_BUSY_SECONDS), held)).one()[1]
            # Looked up after the lock is held, by a statement of its own and so in a newer snapshot: either
            # the range is still the open one and its closer will wait for us, or it is not and we go on.
            self._range = open_range(connection)
            if locked and self._range == claimed:
                return claimed

    def drain(self, range_no: int) -> None:
        """Wait for the shared locks on the range."""
        with self.writing() as connection:
            connection.execute(select(_patience(_DRAIN_SECONDS)))
            connection.execute(select(func.pg_advisory_xact_lock(_SPACE, range_no)))

    def alone(self, connection: Connection, *, migrating: bool = False) -> None:
        """Hold the lock that only sealers (or migrations) take."""
        lock = func.pg_advisory_xact_lock
        connection.execute(select(lock(_MIGRATING) if migrating else lock(_SPACE, _SEALING)))


def _patience(seconds: int) -> Any:
    """How long a transaction waits for locks.

    Not for its statements: a commit that waits for a standby must not be cut short, since PostgreSQL then
    reports success without it.
    """
    return func.set_config("lock_timeout", f"{seconds}s", literal(value=True))


def connect(url: str) -> Database:
    """The database at an SQLAlchemy URL; nothing is opened yet. ConfigurationError if none can be there.

    No message repeats the URL, of which any part may be a password that is in the wrong place.
    """
    parsed = _parsed(url)
    if parsed is None:
        raise ConfigurationError(f"records: {_NO_URL}")
    name = parsed.get_backend_name()
    if name not in _KINDS:
        raise ConfigurationError(f"records: {name} is neither sqlite nor postgresql; {_WRITE}")
    try:
        _check_options(parsed)
        database = _KINDS[name](parsed)
        database.engine.dialect.create_connect_args(parsed)
    except ModuleNotFoundError as error:
        problem = f"{error}; install the extra `postgres`, and write postgresql+psycopg://…"
    except NoSuchModuleError:
        problem = f"there is no driver {parsed.drivername}; {_WRITE}"
    except (ArgumentError, ValueError):
        problem = _NO_URL
    else:
        if not database.engine.dialect.is_async:
            return database
        problem = f"the driver {parsed.drivername} is for asyncio; {_WRITE}"
    # Raised out here, so that what SQLAlchemy said, which may repeat the URL, is not chained to it.
    raise ConfigurationError(f"records: {problem}")


def _parsed(url: str) -> URL | None:
    """The parts of a URL, None if it is none, or if a part of its password may be taken for another part."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    if "\0" in (parsed.database or ""):
        return None
    return parsed if parsed.get_backend_name() != "postgresql" or _is_told_apart(url, parsed) else None


def _is_told_apart(url: str, parsed: URL) -> bool:
    ats = str(url).count("@")
    return (parsed.port or 0) <= _MOST_PORT and (ats == 0 or (ats == 1 and parsed.username is not None))


def _check_options(url: URL) -> None:
    """Refuse options that the driver would stumble over at every choice, or pass over in silence.

    Raises ConfigurationError with their names, and never with a value.
    """
    takes = _TAKES.get(url.get_dialect().driver)
    misfits = [name for name in url.query if takes and not takes(url, name)]
    if misfits:
        names = ", ".join(f"{name[:_LONGEST_OPTION]!r}" for name in misfits)
        raise ConfigurationError(f"records: the URL has options, or values of them, that do not fit: {names}")


def _sqlite_takes(url: URL, name: str) -> bool:
    if name not in _SQLITE_OPTIONS:
        # SQLite itself passes over what it does not know.
        return name in _SQLITE_ADDRESS_OPTIONS and asbool(url.query.get("uri"))
    try:
        _, options = url.get_dialect()().create_connect_args(url.set(query={name: url.query[name]}))
        sqlite3.connect(":memory:", **options).close()
    except (ArgumentError, TypeError, ValueError, OverflowError, sqlite3.Error):
        return False
    return True


def _psycopg_takes(url: URL, name: str) -> bool:
    from psycopg import ProgrammingError  # noqa: PLC0415 - an extra, imported where it is used
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - ditto

    try:
        make_conninfo("", **{name: ""})
    except ProgrammingError:
        return False
    # Of several hosts each may be given by itself; of all else one would do, or none.
    return isinstance(url.query[name], str) or name in {"host", "port"}


def _unless_given(url: URL, **arguments: int) -> dict[str, int]:
    return {name: value for name, value in arguments.items() if name not in url.query}


def open_range(connection: Connection) -> int:
    """The number of the range that records go to."""
    number: int = connection.execute(select(func.max(ranges.c.number))).scalar_one()
    return number


def _message(error: BaseException | None) -> str:
    """What a driver says, without the details that PostgreSQL adds: they repeat the row."""
    return getattr(getattr(error, "diag", None), "message_primary", None) or str(error)


_KINDS: Mapping[str, type[Sqlite] | type[Postgresql]] = {"sqlite": Sqlite, "postgresql": Postgresql}
_TAKES: Mapping[str, Callable[[URL, str], bool]] = {"pysqlite": _sqlite_takes, "psycopg": _psycopg_takes}
"""By the name of a driver, whether it takes an option of a URL."""
