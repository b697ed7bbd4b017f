"""`consent-middleware records`: the proof of consent, for people and for cron.

Exit status: 0 all is well, 1 something was found or refused, 2 the command could not run.
"""

import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import click
import msgspec

from ..core.periods import Period
from ..errors import ConsentError
from ..records import audit
from ..records.event import Record, to_rfc3339
from ..records.receipt import receipt
from ..records.seals import Seal
from ..records.store import RecordStore, open_store
from ..records.transfer import consent_rates, export_csv, export_lines, import_records
from ..registry_file import read_registry
from .private_file import writing_privately

_T = TypeVar("_T")


class _CannotRun(click.ClickException):
    exit_code = 2


def _period(text: str) -> Period:
    try:
        return Period.parse(text)
    except ValueError:
        raise click.BadParameter(f'{text!r} is no period; write "5 years" or "18 months"') from None


@contextmanager
def _opened(url: str) -> Iterator[RecordStore]:
    try:
        with closing(open_store(url, os.environ.get("CONSENT_SECRET_KEYS", "").split())) as store:
            yield store
    except ConsentError as error:
        raise _CannotRun(str(error)) from error


_url = click.option(
    "--records",
    "url",
    metavar="URL",
    envvar="CONSENT_RECORDS",
    required=True,
    show_envvar=True,
    help="The store, such as sqlite:///consent.db.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")


def _span(command: Callable[..., None]) -> Callable[..., None]:
    for name, meaning in (("--until", "before this UTC time"), ("--since", "from this UTC time on")):
        command = click.option(name, type=click.DateTime(), callback=_utc, help=f"Only records {meaning}.")(
            command
        )
    return command


def _utc(_ctx: click.Context, _param: click.Parameter, value: datetime | None) -> datetime | None:
    return value and value.replace(tzinfo=UTC)


@contextmanager
def _progress(label: str, length: int | None = None) -> Iterator[Callable[[int], object]]:
    bar: Any
    # Without a length it counts; click wants one of the two.
    source = iter(()) if length is None else None
    with click.progressbar(
        source, length, label, file=sys.stderr, update_min_steps=1000, show_pos=True
    ) as bar:
        yield bar.update


@click.group(name="records")
def command() -> None:
    """The records of consent: show, export, import, seal, verify, count, purge.

    Keys are read from CONSENT_SECRET_KEYS, newest first, separated by blanks.
    """


@command.command()
@click.argument("id")
@_url
@_json
@click.option("--receipt", "as_receipt", is_flag=True, help="The receipt of the newest record, as JSON-LD.")
def show(id: str, url: str, *, as_json: bool, as_receipt: bool) -> None:
    """All records connected with a record ID or consent ID, oldest first."""
    with _opened(url) as store:
        # An argument may hold octets that are no text, which no database takes.
        found = store.history(id) if id.isprintable() else ()
        if not found:
            raise click.ClickException(f"no record has the id {id!a}")
        if as_receipt:
            click.echo(_receipt(store, found[-1]))
        for record in () if as_receipt else found:
            click.echo(record.to_json_line() if as_json else _described(record, store))


def _receipt(store: RecordStore, record: Record) -> str:
    snapshot = store.snapshot(record.event.snapshot)
    if snapshot is None:
        raise _CannotRun("the registry snapshot of this record is missing; run verify")
    content = receipt(record.event, snapshot, datetime.now(UTC))
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def _described(record: Record, store: RecordStore) -> str:
    event = record.event
    verdict = {True: "right", False: "WRONG: changed or forged", None: "made with a key not known here"}
    shown = f"{to_rfc3339(event.offered_at)}, layout {event.layout}" if event.offered_at else "not by us"
    lines = {
        "record": event.record_id,
        "consent": event.consent_id,
        "replaces": event.previous,
        "state": f"{event.state} ({event.state.term}), now {event.state_at(datetime.now(UTC))}",
        "time": f"{to_rfc3339(event.time)}, until {to_rfc3339(event.expires_at)}",
        "made": f"{event.action} by {event.source} on {event.host or '-'}",
        "shown": f"{shown}, language {event.language or '-'}, registry version {event.version}",
        "snapshot": event.snapshot,
        "granted": " ".join(event.granted),
        "refused": " ".join(event.refused),
        "signals": " ".join(event.signals),
        "network": event.network,
        "MAC": f"{verdict[record.verifies(store.keys)]} (key {record.key_id})",
    }
    return "".join(f"{name:<10}{text or '-'}\n" for name, text in lines.items())


@command.command()
@_url
@_span
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file, made with mode 0600; one that others may open is refused.  [default: standard output]",
)
def export(url: str, since: datetime | None, until: datetime | None, kind: str, output: Path | None) -> None:
    """Write records as JSON lines or CSV, streaming; JSON has the registry snapshots too."""
    with _opened(url) as store:
        count = store.count(since, until)
        with _written(output) as file, _progress("Exporting", count) as advance:
            if kind == "csv":
                export_csv(_counted(store.records(since, until), advance), file)
            else:
                file.writelines(f"{line}\n" for line in _counted(export_lines(store, since, until), advance))


@contextmanager
def _written(path: Path | None) -> Iterator[IO[str]]:
    if path is None or str(path) == "-":
        with click.open_file("-", "w", encoding="utf-8") as output:
            yield output
        return
    try:
        with writing_privately(path) as file:
            yield file
    except OSError as error:
        raise _CannotRun(f"{path}: {error.strerror or error}") from error


def _counted(items: Iterator[_T], advance: Callable[[int], object]) -> Iterator[_T]:
    for item in items:
        yield item
        advance(1)


@command.command(name="import")
@click.argument("files", nargs=-1, type=click.File(encoding="utf-8", errors="replace"), required=True)
@_url
def import_(files: tuple[IO[str], ...], url: str) -> None:
    """Take in records from exports, or from logs of a time when the store was down ("-" is standard input).

    A record must carry a MAC of one of the keys. What is in the store already stays as it is.
    """
    refusals = 0
    with _opened(url) as store:
        for file in files:
            with _progress(f"Importing {file.name}") as advance:
                intake = import_records(store, file, advance)
            counts = f"{intake.taken} taken in, {intake.known} known, {intake.skipped} lines without a record"
            click.echo(f"{file.name}: {counts}, {len(intake.refused)} refused")
            for number, reason in intake.refused:
                click.echo(f"{file.name}:{number}: {reason}", err=True)
            refusals += len(intake.refused)
    sys.exit(1 if refusals else 0)


@command.command()
@_url
def seal(url: str) -> None:
    """Sign the count and hash of all records so far; prints the new seals, to be kept elsewhere too."""
    with _opened(url) as store:
        with _progress("Sealing") as advance:
            entries = audit.seal(store, datetime.now(UTC), advance)
        for entry in entries:
            click.echo(entry.to_json_line())
            if entry.unverified:
                click.echo(f"range {entry.range_no}: {entry.unverified} records do not verify", err=True)
    sys.exit(1 if any(entry.unverified for entry in entries) else 0)


@command.command()
@_url
@_json
@click.option(
    "--seal",
    "kept",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Seals that were printed before and kept elsewhere, one per line.",
)
def verify(url: str, kept: Path | None, *, as_json: bool) -> None:
    """Check that no record was changed, forged, added to what was sealed, or lost from it."""
    result, found = audit.Verification(), 0
    with _opened(url) as store, _progress("Verifying", store.count()) as advance:
        for finding in audit.verify(store, result, _kept(kept), advance):
            found += 1
            if as_json:
                click.echo(msgspec.json.encode(finding))
            else:
                place = f"range {finding.range_no} " if finding.range_no else ""
                click.echo(f"{finding.kind}: {place}{finding.record}: {finding.message}")
    summary = {"findings": found} | {name: getattr(result, name) for name in result.__slots__}
    click.echo(msgspec.json.encode(summary) if as_json else _summary(found, result))
    sys.exit(1 if found else 0)


def _kept(path: Path | None) -> list[Seal]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path else []
        return [Seal.from_json_line(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise _CannotRun(f"{path}: {error}") from error


def _summary(found: int, result: audit.Verification) -> str:
    return (
        f"{found or 'no'} findings; {result.sealed} records proven by seals"
        f" (the last of {result.sealed_until or 'never'}), {result.unsealed} since with right MACs,"
        f" {result.purged} ranges purged"
    )


@command.command()
@_url
@_span
@click.option("--by", type=click.Choice(["year", "month", "day"]), default="month", show_default=True)
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv"]), default="table")
def stats(url: str, since: datetime | None, until: datetime | None, by: str, kind: str) -> None:
    """How often each purpose was granted, per language, over time."""
    with _opened(url) as store:
        rates = consent_rates(store.tally({"year": 4, "month": 7, "day": 10}[by], since, until))
    header = ("time", "language", "purpose", "granted", "refused", "rate")
    rows = [(*key, yes, no, round(yes / (yes + no), 4)) for key, (yes, no) in rates.items()]
    if kind == "json":
        click.echo(msgspec.json.encode([dict(zip(header, row, strict=True)) for row in rows]))
    elif kind == "csv":
        csv.writer(sys.stdout).writerows([header, *rows])
    else:
        for row in [header, *rows]:
            click.echo("{:<11}{:<10}{:<20}{:>10}{:>10}{:>8}".format(*row))


@command.command()
@_url
@click.option(
    "--registry",
    type=click.Path(dir_okay=False),
    default="cookies.toml",
    show_default=True,
    help="The registry whose [records] retention counts.",
)
@click.option(
    "--retention", type=_period, metavar="PERIOD", help='How long records are kept, such as "5 years".'
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
def purge(url: str, registry: str, retention: Period | None, *, dry_run: bool) -> None:
    """Remove the ranges of records sealed longer ago than the retention; their seals stay."""
    now = datetime.now(UTC)
    with _opened(url) as store:
        retention = retention or read_registry(registry).records.retention
        going = audit.due(store.seals(), retention, now)
        if not dry_run:
            with _progress("Purging", sum(entry.records for entry in going)) as advance:
                audit.purge(store, retention, now, advance)
    verb = "would go" if dry_run else "purged"
    click.echo(f"{len(going)} ranges with {sum(entry.records for entry in going)} records {verb}")


@command.command()
@_url
def migrate(url: str) -> None:
    """Make the tables, or bring them up to date; every process does so at its start too."""
    with _opened(url) as store:
        before = store.version
        store.prepare()
        click.echo(f"version {before} -> {store.version}")
