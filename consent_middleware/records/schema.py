"""The tables, and how a database gets them: numbered migrations, each applied once.

Append-only is the database's rule as well: triggers refuse to change anything, and to delete anything but
the records of a range whose purge is in the signed log.
"""

from collections.abc import Callable, Iterator

from sqlalchemy import Column, Connection, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from .event import COLUMNS

metadata = MetaData()

# Ids sort by octets in every database: the order of the records is part of what a seal proves.
_ID = String(36).with_variant(String(36, collation="C"), "postgresql")
_OPTIONAL = {"consent_id", "previous", "offered_at", "network"}


def _type(name: str) -> type[Integer] | type[Text] | String:
    if name in {"range_no", "version"}:
        return Integer
    return _ID if name in {"record_id", "previous"} else Text


events = Table(
    "consent_events",
    metadata,
    *(
        Column(name, _type(name), primary_key=name == "record_id", nullable=name in _OPTIONAL)
        for name in COLUMNS
    ),
)
Index("consent_events_in_order", events.c.range_no, events.c.record_id)
for _name in ("consent_id", "previous"):
    # Refusals have neither: an index without them stays small.
    _set = events.c[_name].is_not(None)
    Index(f"consent_events_{_name}", events.c[_name], sqlite_where=_set, postgresql_where=_set)

snapshots = Table(
    "consent_snapshots",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("body", Text, nullable=False),
)
ranges = Table(
    "consent_ranges",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("opened_at", Text, nullable=False),
)
seals = Table(
    "consent_seals",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("range_no", Integer, nullable=False),
    Column("records", Integer, nullable=False),
    Column("unverified", Integer, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("hash", "ends", "at", "previous", "key_id", "mac")),
    UniqueConstraint("kind", "range_no"),
)
versions = Table(
    "consent_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", Text, nullable=False),
)

_PURGED = "EXISTS (SELECT 1 FROM consent_seals WHERE kind = 'purge' AND range_no = OLD.range_no)"
_KEYS = {
    "consent_events": "record_id = NEW.record_id",
    "consent_snapshots": "hash = NEW.hash",
    "consent_ranges": "number = NEW.number",
    "consent_seals": "number = NEW.number OR (kind = NEW.kind AND range_no = NEW.range_no)",
}


def _create(connection: Connection, now: str) -> None:
    metadata.create_all(connection)
    connection.execute(ranges.insert().values(number=1, opened_at=now))
    triggers = _sqlite_triggers if connection.dialect.name == "sqlite" else _postgresql_triggers
    for statement in triggers():
        connection.exec_driver_sql(statement)


def _sqlite_triggers() -> Iterator[str]:
    for table, same in _KEYS.items():
        refusal = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        unless = f"WHEN NOT {_PURGED}" if table == "consent_events" else ""
        yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refusal}"
        yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {unless} {refusal}"
        # INSERT OR REPLACE deletes without asking the delete trigger, so it is refused before.
        exists = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - from the table above
        yield f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {exists} {refusal}"


def _postgresql_triggers() -> Iterator[str]:
    # The search path is frozen, so that no temporary table can stand in for the log.
    function = "RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS"
    message = "TG_TABLE_NAME || ' is append-only'"
    refuse = f"RAISE EXCEPTION USING MESSAGE = {message}, ERRCODE = 'insufficient_privilege';"
    allow = f"IF {_PURGED} THEN RETURN OLD; END IF;"
    yield f"CREATE FUNCTION consent_refuse() {function} $$ BEGIN {refuse} END $$"
    yield f"CREATE FUNCTION consent_refuse_unless_purged() {function} $$ BEGIN {allow} {refuse} END $$"
    each_row = "FOR EACH ROW EXECUTE FUNCTION consent_refuse_unless_purged()"
    yield f"CREATE TRIGGER consent_events_no_delete BEFORE DELETE ON consent_events {each_row}"
    for table in _KEYS:
        acts = "UPDATE OR TRUNCATE" if table == "consent_events" else "UPDATE OR DELETE OR TRUNCATE"
        each = f"BEFORE {acts} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION consent_refuse()"
        yield f"CREATE TRIGGER {table}_append_only {each}"


MIGRATIONS: tuple[Callable[[Connection, str], None], ...] = (_create,)
"""What turns version n into n + 1, from an empty database on; the argument beside it is the time."""
