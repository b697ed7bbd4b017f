"""Records as files: exports in two formats, and imports of exports and of logs."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO

import msgspec

from .event import COLUMNS, ConsentEvent, Record
from .signing import read_json
from .snapshot import Snapshot
from .store import RecordStore

_BATCH = 500
_SNAPSHOT_MARK = '{"consent_snapshot":'


class _SnapshotLine(msgspec.Struct, rename={"hash": "consent_snapshot"}):
    hash: str
    body: str


def export_lines(
    store: RecordStore, since: datetime | None = None, until: datetime | None = None
) -> Iterator[str]:
    """All registry snapshots, then the records of that time, as lines of JSON; streamed."""
    for snapshot in store.snapshots():
        yield msgspec.json.encode(_SnapshotLine(snapshot.hash, snapshot.body)).decode()
    for record in store.records(since, until):
        yield record.to_json_line()


def export_csv(records: Iterable[Record], file: IO[str]) -> None:
    """Records as comma-separated values (RFC 4180) with a header; lists are separated by blanks."""
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    for record in records:
        event = record.event
        lists = {name: " ".join(getattr(event, name)) for name in ("granted", "refused", "signals")}
        rows.writerow(lists.get(name, value) for name, value in zip(COLUMNS, record.columns, strict=True))


@dataclass(slots=True)
class Intake:
    """What became of the lines of an import."""

    taken: int = 0
    known: int = 0
    """Records that were in the store already."""
    skipped: int = 0
    """Lines that hold neither a record nor a snapshot, as logs do, and snapshots that no record named."""
    refused: list[tuple[int, str]] = field(default_factory=list)
    """Number and reason of each line that was not taken in."""


def import_records(
    store: RecordStore, lines: Iterable[str], progress: Callable[[int], object] = lambda _count: None
) -> Intake:
    """Store the records and snapshots that these lines hold, whatever a log puts before them.

    A record is taken in only with a MAC of one of the store's keys, so that nobody who can write to a log
    can make consent. It is then signed anew, for the range that is open. A line that was taken in before
    changes nothing.

    A snapshot has no MAC: it waits, in memory, for a record with a right one that names its hash.
    """
    intake, waiting, numbered = Intake(), dict[str, Snapshot](), enumerate(lines, 1)
    while batch := list(islice(numbered, _BATCH)):
        found = {}
        for number, line in batch:
            try:
                event = _read(store, line, waiting)
            except (ValueError, OverflowError) as error:
                intake.refused.append((number, str(error)))
            else:
                intake.skipped += event is None and _SNAPSHOT_MARK not in line
                if event is not None:
                    found[number] = event
        _store(store, found, intake)
        progress(len(batch))
    intake.skipped += len(waiting)
    return intake


def _read(store: RecordStore, line: str, waiting: dict[str, Snapshot]) -> ConsentEvent | None:
    """The event of a line, with its snapshot saved; a snapshot waits. ValueError if it is not taken in."""
    start = line.find(_SNAPSHOT_MARK)
    if start >= 0:
        read = read_json(line[start:].strip(), _SnapshotLine)
        snapshot = Snapshot.of_body(read.body)
        if snapshot.hash != read.hash:
            raise ValueError("a registry snapshot that does not have its hash")
        waiting[snapshot.hash] = snapshot
        return None
    record = Record.from_json_line(line)
    if record is None:
        return None
    verdict = record.verifies(store.keys)
    if not verdict:
        raise ValueError("the key of its MAC is not known" if verdict is None else "its MAC is wrong")
    shown = waiting.pop(record.event.snapshot, None)
    if shown is not None:
        store.save_snapshot(shown)
    if not store.has_snapshot(record.event.snapshot):
        raise ValueError(f"its registry snapshot {record.event.snapshot} is not in the store")
    return record.event


def _store(store: RecordStore, found: dict[int, ConsentEvent], intake: Intake) -> None:
    known = store.find(event.record_id for event in found.values())
    fresh: dict[str, ConsentEvent] = {}
    for number, event in found.items():
        same = known.get(event.record_id) or fresh.get(event.record_id)
        if same is None:
            fresh[event.record_id] = event
        elif same == event:
            intake.known += 1
        else:
            intake.refused.append((number, f"another record has the id {event.record_id}"))
    if fresh:
        store.append_all(list(fresh.values()))
    intake.taken += len(fresh)


def consent_rates(
    tally: Iterable[tuple[str, str, str, str, int]],
) -> dict[tuple[str, str, str], tuple[int, int]]:
    """How often each purpose was granted and refused, by (time, language, purpose), from `store.tally`."""
    granted: Counter[tuple[str, str, str]] = Counter()
    refused: Counter[tuple[str, str, str]] = Counter()
    for time, language, *answers, count in tally:
        for names, sums in zip(answers, (granted, refused), strict=True):
            for name in msgspec.json.decode(names, type=list[str]):
                kind, _, id = name.partition(":")
                if kind == "purpose":
                    sums[time, language, id] += count
    return {key: (granted[key], refused[key]) for key in sorted(granted.keys() | refused.keys())}
