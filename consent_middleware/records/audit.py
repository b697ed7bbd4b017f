"""Sealing, verifying and purging: what keeps the records provable over years.

`seal` closes the open range of records and signs its count and hash into the log. `verify` checks the log,
then every record against its MAC and every range against its seal. `purge` lets whole ranges go when their
time is over; their seals stay.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import Connection, delete, exists, func, select

from ..core.periods import Period
from ..errors import RecordStoreError
from .database import open_range
from .event import COLUMNS, canonical, to_rfc3339
from .schema import events, ranges, seals, snapshots
from .seals import Finding, Seal, check_log
from .signing import KeyRing
from .snapshot import Snapshot
from .store import ROW, RecordStore, last_seal, read_log, stream

_PURGE_BATCH = 5000
_ID, _KEY, _EXPIRES, _SNAPSHOT = (
    COLUMNS.index(name) for name in ("record_id", "key_id", "expires_at", "snapshot")
)

Row = tuple[Any, ...]
Progress = Callable[[int], object]
"""Called with how many records were read or removed since the last call."""


def _silent(_count: int) -> None: ...


@dataclass(slots=True)
class _Tally:
    """The records of one range, read in the order of their ids: their number, their hash, what was wrong."""

    keys: KeyRing
    records: int = 0
    changed: int = 0
    unknown: int = 0
    first_unknown: str = ""
    ends: str = ""
    snapshots: set[Any] = field(default_factory=set)
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, row: Row) -> bool | None:
        """Take in the next record; whether its MAC is right, None if its key is not known."""
        content, mac = canonical(row[:-1]), str(row[-1])
        # JSON holds no raw line feed, so that no two sequences of records give the same octets.
        self.hash.update(b"%b\n%b\n" % (content, mac.encode()))
        self.records += 1
        self.ends = max(self.ends, str(row[_EXPIRES]))
        self.snapshots.add(row[_SNAPSHOT])
        verdict = self.keys.verifies(content, row[_KEY], mac)
        self.changed += verdict is False
        if verdict is None:
            self.unknown += 1
            self.first_unknown = self.first_unknown or row[_ID]
        return verdict

    def add_all(self, number: int, rows: Iterable[Row], progress: Progress) -> Iterator[Finding]:
        """Take in the records of a range; those that were changed."""
        for row in rows:
            progress(1)
            if self.add(row) is False:
                yield Finding("changed", "a record was changed or forged", number, row[_ID])


def seal(store: RecordStore, now: datetime, progress: Progress = _silent) -> tuple[Seal, ...]:
    """Close the open range of records and seal all that is closed; the new entries of the log.

    Records that are being written go on meanwhile, into the next range. An interrupted run is taken up by
    the next. Records that do not verify are sealed as they are, and counted as such.
    """
    store.prepare()
    made = (_seal_range(store, number, now, progress) for number in _close(store, now))
    return tuple(entry for entry in made if entry)


def _close(store: RecordStore, now: datetime) -> list[int]:
    """Close the open range if it holds anything; the numbers of all that are closed and not sealed."""
    with store.database.writing() as connection:
        store.database.alone(connection)
        number = open_range(connection)
        if connection.execute(select(exists().where(events.c.range_no == number))).scalar():
            number += 1
            connection.execute(ranges.insert().values(number=number, opened_at=to_rfc3339(now)))
        sealed = connection.execute(select(func.max(seals.c.range_no))).scalar() or 0
    return list(range(sealed + 1, number))


def _seal_range(store: RecordStore, number: int, now: datetime, progress: Progress) -> Seal | None:
    store.database.drain(number)
    tally = _Tally(store.keys)
    with store.database.reading() as connection:
        for row in _rows(connection, number):
            tally.add(row)
            progress(1)
    entry = Seal(
        number=0,
        kind="seal",
        range_no=number,
        records=tally.records,
        unverified=tally.changed + tally.unknown,
        hash=tally.hash.hexdigest(),
        ends=tally.ends,
        at=to_rfc3339(now),
        previous="",
    )
    return _enter(store, entry)


def _enter(store: RecordStore, entry: Seal) -> Seal | None:
    """Sign an entry into the log, as its newest; None if it has one of this kind for this range."""
    same = exists().where(seals.c.kind == entry.kind, seals.c.range_no == entry.range_no)
    with store.database.writing() as connection:
        store.database.alone(connection)
        if connection.execute(select(same)).scalar():
            return None
        last = last_seal(connection)
        number, previous = (last.number + 1, last.digest) if last else (1, "")
        entry = replace(entry, number=number, previous=previous).signed(store.keys)
        connection.execute(seals.insert().values(asdict(entry)))
    return entry


def _rows(connection: Connection, number: int | None = None) -> Iterator[Row]:
    query = select(*ROW).order_by(events.c.range_no, events.c.record_id)
    if number is not None:
        query = query.where(events.c.range_no == number)
    return stream(connection, query)


@dataclass(slots=True)
class Verification:
    """What `verify` went through; complete when its findings have been read to the end."""

    sealed: int = 0
    """Records proven complete and unchanged by a seal."""
    unsealed: int = 0
    """Records after the last seal, each with a right MAC."""
    purged: int = 0
    """Ranges that went by retention."""
    sealed_until: str = ""
    """When the last seal was made."""


def verify(
    store: RecordStore, result: Verification, kept: Iterable[Seal] = (), progress: Progress = _silent
) -> Iterator[Finding]:
    """What is not as it was written, in the order of the records; nothing if all is well.

    `kept` are entries of the log from elsewhere. Reads one state of the store, while others write on.
    """
    store.prepare()
    with store.database.reading() as connection:
        log = read_log(connection)
        yield from check_log(log, store.keys, kept)
        sealed = {entry.range_no: entry for entry in log if entry.kind == "seal"}
        purged = {entry.range_no for entry in log if entry.kind == "purge"}
        result.purged = len(purged)
        result.sealed_until = max((entry.at for entry in sealed.values()), default="")
        unsealed = range(max(sealed, default=0) + 1, open_range(connection) + 1)
        unseen, shown = sealed.keys() - purged, set[Any]()
        for number, rows in groupby(_rows(connection), _range_of):
            unseen.discard(number)
            tally = _Tally(store.keys)
            yield from tally.add_all(number, rows, progress)
            shown |= tally.snapshots
            if number not in purged:
                yield from _judge(number, tally, sealed.get(number), number in unsealed, result)
        for number in sorted(unseen):
            yield from _judge(number, _Tally(store.keys), sealed[number], number in unsealed, result)
        yield from _check_snapshots(connection, shown)


def _range_of(row: Row) -> int:
    # SQLite holds what it is given: a range that is no number is no range of ours.
    return row[0] if isinstance(row[0], int) else -1


def _judge(
    number: int,
    tally: _Tally,
    entry: Seal | None,
    open_to_records: bool,  # noqa: FBT001 - of the three states of a range, the one that has no seal
    result: Verification,
) -> Iterator[Finding]:
    """What the count and the hash of one range say, now that all of it was read."""
    if entry and (tally.records, tally.hash.hexdigest()) == (entry.records, entry.hash):
        result.sealed += tally.records
        return
    if entry:
        yield from _differences(number, tally, entry)
    elif open_to_records:
        result.unsealed += tally.records - tally.changed - tally.unknown
    else:
        yield Finding("inserted", f"{tally.records} records in a range that was never open to them", number)
    if tally.unknown:
        message = f"the key of {tally.unknown} records is not known, and no seal proves them"
        yield Finding("unproven", message, number, tally.first_unknown)


def _differences(number: int, tally: _Tally, entry: Seal) -> Iterator[Finding]:
    """What a range that is not as it was sealed shows besides the records that do not verify."""
    more = tally.records - entry.records
    if more:
        kind: Literal["missing", "inserted"] = "inserted" if more > 0 else "missing"
        yield Finding(kind, f"{abs(more)} records {kind}, {entry.records} were sealed on {entry.at}", number)
    elif not tally.changed:
        yield Finding("changed", f"the records are not those that were sealed on {entry.at}", number)


def _check_snapshots(connection: Connection, shown: set[str]) -> Iterator[Finding]:
    for hash, body in stream(connection, select(snapshots.c.hash, snapshots.c.body), batch=1):
        if Snapshot.of_body(body).hash != hash:
            yield Finding("snapshot", f"the registry snapshot {hash} was changed")
        shown.discard(hash)
    for hash in sorted(map(str, shown)):
        yield Finding("snapshot", f"the registry snapshot {hash} is missing")


def purge(
    store: RecordStore, retention: Period, now: datetime, progress: Progress = _silent
) -> tuple[Seal, ...]:
    """Remove the ranges sealed longer ago than `retention`, none of whose choices still holds.

    The new entries of the log say so, and stay with the seals. Goes in batches, so that nobody waits long;
    an interrupted run is taken up by the next. RecordStoreError if the log does not verify: a forged seal
    must not make records go.
    """
    log = store.seals()
    for finding in check_log(log, store.keys):
        raise RecordStoreError(f"nothing is purged: {finding.message}; run verify")
    made = tuple(filter(None, (_enter(store, entry) for entry in due(log, retention, now))))
    for entry in (*log, *made):
        if entry.kind == "purge":
            _remove(store, entry.range_no, progress)
    return made


def due(log: Iterable[Seal], retention: Period, now: datetime) -> tuple[Seal, ...]:
    """The entries that a purge at `now` would make."""
    log = tuple(log)
    gone = {entry.range_no for entry in log if entry.kind == "purge"}
    return tuple(
        replace(entry, kind="purge", at=to_rfc3339(now))
        for entry in log
        if entry.range_no not in gone
        and retention.after(datetime.fromisoformat(entry.at)) <= now
        and entry.ends <= to_rfc3339(now)
    )


def _remove(store: RecordStore, range_no: int, progress: Progress) -> None:
    some = select(events.c.record_id).where(events.c.range_no == range_no).limit(_PURGE_BATCH)
    removed = _PURGE_BATCH
    while removed == _PURGE_BATCH:
        with store.database.writing() as connection:
            removed = connection.execute(delete(events).where(events.c.record_id.in_(some))).rowcount
        progress(removed)
