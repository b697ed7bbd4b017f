"""The record store: where choices become evidence.

All calls block and belong in worker threads, never on an event loop. A store may be shared by threads, and
any number of processes and machines may write at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, inspect, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from ..errors import RecordStoreError
from .database import Database, connect
from .event import COLUMNS, ConsentEvent, Record, to_rfc3339
from .schema import MIGRATIONS, events, seals, snapshots, versions
from .seals import Seal
from .signing import KeyRing
from .snapshot import Snapshot

_BATCH = 1000
ROW = tuple(events.c[name] for name in COLUMNS)
"""What `Record.of_columns` takes, to be selected."""


def open_store(url: str, keys: Sequence[str]) -> "RecordStore":
    """The store at `url` (`sqlite:///consent.db`, `postgresql+psycopg://…`), signing with the first key.

    Connects to nothing yet: tables are made or brought up to date on first use, or by `prepare()`.
    ConfigurationError if the URL, a driver or the keys do not fit.
    """
    return RecordStore(connect(url), KeyRing(keys))


class RecordStore:
    """Appends records durably and reads them back. Whatever fails is a `RecordStoreError`."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self.database = database
        self.keys = keys
        self._prepared = False
        self._preparing = Lock()
        self._saved: set[str] = set()

    def prepare(self) -> None:
        """Make the tables, or bring them up to date. Safe in many processes at once; cheap when done."""
        if self._prepared:
            return
        with self._preparing:
            _migrate(self.database)
            self._prepared = True
        # A connection from before a fork must not be used on both sides of it.
        self.database.close()

    @property
    def version(self) -> int:
        """The version of the tables, 0 where there are none."""
        with self.database.reading() as connection:
            return _version(connection)

    def append(self, event: ConsentEvent) -> None:
        """Store a record durably: when this returns it is committed. Twice the same is once.

        The event's snapshot must have been saved before.
        """
        self.append_all([event])

    def append_all(self, batch: Sequence[ConsentEvent]) -> None:
        """Store several records, all or none."""
        self.prepare()
        for hash in {event.snapshot for event in batch}:
            if not self.has_snapshot(hash):
                raise RecordStoreError(f"the registry snapshot {hash} is not in the store")
        try:
            self._insert(batch)
        except RecordStoreError as error:
            # Lost in mid-write, perhaps after the commit: trying again tells, and repairs.
            if not _lost(error):
                raise
            self._insert(batch)

    def _insert(self, batch: Sequence[ConsentEvent]) -> None:
        try:
            with self.database.writing() as connection:
                range_no = self.database.claim(connection)
                rows = (Record.signed(event, range_no, self.keys).columns for event in batch)
                connection.execute(events.insert(), [dict(zip(COLUMNS, row, strict=True)) for row in rows])
        except RecordStoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            known = self.find(event.record_id for event in batch)
            if any(known.get(event.record_id) != event for event in batch):
                raise

    def has_snapshot(self, hash: str) -> bool:
        """Whether a registry snapshot is in the store. Costs nothing when it was seen there before."""
        if hash not in self._saved and self.snapshot(hash) is not None:
            self._saved.add(hash)
        return hash in self._saved

    def log_line(self, event: ConsentEvent) -> str:
        """The event as one signed line of JSON, for the log when it cannot be stored; for `import`."""
        return Record.signed(event, 0, self.keys).to_json_line()

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a registry snapshot. Costs nothing when this store has saved it before."""
        if self.has_snapshot(snapshot.hash):
            return
        try:
            with self.database.writing() as connection:
                connection.execute(snapshots.insert().values(hash=snapshot.hash, body=snapshot.body))
        except RecordStoreError as error:
            # Another process was faster: its snapshot is the same, having the same hash.
            if not isinstance(error.__cause__, IntegrityError):
                raise
        self._saved.add(snapshot.hash)

    def snapshot(self, hash: str) -> Snapshot | None:
        """The registry snapshot with this hash."""
        self.prepare()
        with self.database.reading() as connection:
            body = connection.execute(select(snapshots.c.body).where(snapshots.c.hash == hash)).scalar()
        return None if body is None else Snapshot(hash, body)

    def snapshots(self) -> Iterator[Snapshot]:
        """All registry snapshots."""
        query = select(snapshots.c.hash, snapshots.c.body).order_by(snapshots.c.hash)
        for hash, body in self._stream(query, batch=1):
            yield Snapshot(hash, body)

    def find(self, record_ids: Iterable[str]) -> dict[str, ConsentEvent]:
        """Those of these records that are in the store, by their ids."""
        found = self._select(events.c.record_id.in_(list(record_ids)))
        return {record.event.record_id: record.event for record in found}

    def latest(self, consent_id: str) -> ConsentEvent | None:
        """The newest record of a consent id: the one that no other replaces."""
        found = [record.event for record in self._select(events.c.consent_id == consent_id)]
        replaced = {event.previous for event in found}
        # A clock that steps back can make a successor look older, so links count before times.
        standing = (event for event in found if event.record_id not in replaced)
        return max(standing, key=lambda event: event.record_id, default=None)

    def history(self, id: str) -> tuple[Record, ...]:
        """All records connected with a record id or consent id, through replacement too, oldest first."""
        found: dict[str, Record] = {}
        fresh = self._select(or_(events.c.record_id == id, events.c.consent_id == id))
        while fresh:
            found |= {record.event.record_id: record for record in fresh}
            related = self._select(_related([record.event for record in fresh]))
            fresh = tuple(record for record in related if record.event.record_id not in found)
        return tuple(found[id] for id in sorted(found))

    def _select(self, condition: ColumnElement[bool]) -> tuple[Record, ...]:
        self.prepare()
        query = select(*ROW).where(condition).order_by(events.c.record_id)
        with self.database.reading() as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def records(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Record]:
        """All records from `since` on and before `until`, in the order in which they are sealed, streamed."""
        query = _between(select(*ROW), since, until).order_by(events.c.range_no, events.c.record_id)
        return map(_record, self._stream(query))

    def count(self, since: datetime | None = None, until: datetime | None = None) -> int:
        """How many records there are in that time."""
        self.prepare()
        with self.database.reading() as connection:
            query = _between(select(func.count()).select_from(events), since, until)
            count: int = connection.execute(query).scalar_one()
        return count

    def tally(
        self, period: int, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[tuple[str, str, str, str, int]]:
        """How often each answer was given, as (time, language, granted, refused, count).

        `period` is how many characters of the time count: 10 for days, 7 for months, 4 for years. The
        answers are the JSON lists of a record. The database adds up, so that this is small.
        """
        time = func.substr(events.c.time, 1, period)
        columns = (time, events.c.language, events.c.granted, events.c.refused)
        query = _between(select(*columns, func.count()), since, until).group_by(*columns).order_by(time)
        for row in self._stream(query):
            yield row[0], row[1], row[2], row[3], row[4]

    def seals(self) -> tuple[Seal, ...]:
        """The log of seals and purges, oldest first."""
        self.prepare()
        with self.database.reading() as connection:
            return read_log(connection)

    def _stream(self, query: Select[Any], batch: int = _BATCH) -> Iterator[tuple[Any, ...]]:
        self.prepare()
        with self.database.reading() as connection:
            yield from stream(connection, query, batch)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()


def stream(connection: Connection, query: Select[Any], batch: int = _BATCH) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, never more than a batch of them in memory."""
    with closing(connection.execution_options(yield_per=batch).execute(query)) as result:
        yield from map(tuple, result)


def read_log(connection: Connection) -> tuple[Seal, ...]:
    """The log of seals and purges as this transaction sees it, oldest first."""
    rows = connection.execute(select(seals).order_by(seals.c.number)).mappings()
    return tuple(Seal(**row) for row in rows)


def last_seal(connection: Connection) -> Seal | None:
    """The newest entry of the log."""
    newest = connection.execute(select(seals).order_by(seals.c.number.desc()).limit(1)).mappings().first()
    return Seal(**newest) if newest else None


def _record(row: Any) -> Record:
    try:
        return Record.of_columns(tuple(row))
    except ValueError as error:
        raise RecordStoreError(f"a stored record cannot be read: {error}") from error


def _related(found: Sequence[ConsentEvent]) -> ColumnElement[bool]:
    """Finds what replaces one of these events, is replaced by one, or has the consent id of one."""
    return or_(
        events.c.previous.in_([event.record_id for event in found]),
        events.c.record_id.in_({event.previous for event in found} - {None}),
        events.c.consent_id.in_({event.consent_id for event in found} - {None}),
    )


def _between(query: Select[Any], since: datetime | None, until: datetime | None) -> Select[Any]:
    if since is not None:
        query = query.where(events.c.time >= to_rfc3339(since))
    return query if until is None else query.where(events.c.time < to_rfc3339(until))


def _lost(error: RecordStoreError) -> bool:
    return isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table(versions.name):
        return 0
    version: int = connection.execute(select(func.max(versions.c.version))).scalar_one()
    return version


def _migrate(database: Database) -> None:
    known = len(MIGRATIONS)
    with database.reading() as connection:
        version = _version(connection)
    if version < known:
        with database.writing() as connection:
            database.alone(connection, migrating=True)
            # Looked up again: another process may have been faster.
            version = _version(connection)
            for number, migration in enumerate(MIGRATIONS[version:], version + 1):
                now = to_rfc3339(datetime.now(UTC))
                migration(connection, now)
                connection.execute(versions.insert().values(version=number, applied_at=now))
    if version > known:
        raise RecordStoreError(
            f"the store has version {version}, this library knows up to {known}: update it"
        )
