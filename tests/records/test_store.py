"""The contract of every store: what is appended is there, once, unchanged, and found again."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from consent_middleware.core.periods import Period
from consent_middleware.errors import ConfigurationError, RecordStoreError
from consent_middleware.records import audit
from consent_middleware.records.schema import MIGRATIONS
from consent_middleware.records.store import open_store


def test_what_is_appended_is_there(store, stores, url, event):
    """An appended record is read back equal, by another connection as well."""
    made = event(host="[2001:db8::1]:80", language="zh-Hant", token="a'\"\\\n€𝄞", signals=["gpc", "dnt"])
    store.append(made)
    other = stores(url)
    assert other.find([made.record_id]) == {made.record_id: made}
    assert other.latest(made.consent_id) == made
    assert other.count() == 1


def test_twice_is_once(store, event):
    """The same record may come twice, as after an answer that was lost; another one with its id may not."""
    made = event()
    store.append(made)
    store.append(made)
    with pytest.raises(RecordStoreError):
        store.append(replace(made, host="other.example.com"))
    assert store.find([made.record_id]) == {made.record_id: made}


def test_all_or_none(store, event):
    """Of several records appended together, all are stored or none."""
    stored, fresh = event(), event()
    store.append(stored)
    with pytest.raises(RecordStoreError):
        store.append_all([fresh, replace(stored, host="other.example.com")])
    assert store.count() == 1


def test_no_record_without_its_snapshot(stores, url, event, snapshot):
    """A record whose registry snapshot is not in the store is refused: it would not say what was shown."""
    store, made = stores(url), event()
    with pytest.raises(RecordStoreError, match="snapshot"):
        store.append(made)
    store.save_snapshot(snapshot)
    store.save_snapshot(snapshot)
    store.append(made)
    assert stores(url).snapshot(snapshot.hash) == snapshot
    assert list(store.snapshots()) == [snapshot]


def test_two_processes_save_one_snapshot(store, stores, url, snapshot, monkeypatch):
    """A snapshot that another process saved in the same moment is saved, and no error."""
    late = stores(url)
    monkeypatch.setattr(late, "has_snapshot", lambda _: False)
    late.save_snapshot(snapshot)
    assert list(store.snapshots()) == [snapshot]


def test_a_snapshot_that_cannot_be_saved(tmp_path, stores, snapshot):
    """A store that fails while it saves a snapshot says so."""
    store = stores(f"sqlite:///{tmp_path}/consent.db?timeout=0.05")
    store.prepare()
    with store.database.writing(), pytest.raises(RecordStoreError, match="locked"):
        store.save_snapshot(snapshot)


def test_a_row_that_cannot_be_read(tmp_path, stores, snapshot, event):
    """A stored row that no record can have is an error with words, never a traceback of ours."""
    store, made = stores(f"sqlite:///{tmp_path}/consent.db"), event()
    store.save_snapshot(snapshot)
    store.append(made)
    with store.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER consent_events_no_update")
        connection.exec_driver_sql("UPDATE consent_events SET granted = 'no list'")
    with pytest.raises(RecordStoreError, match="cannot be read"):
        store.find([made.record_id])


def test_latest_goes_by_replacement(store, event, now):
    """The latest record of a consent is the one nothing replaces, even if a clock stepped back between."""
    first = event(consent_id="c")
    second = event(
        consent_id="c",
        previous_record=first.record_id,
        time=now - timedelta(hours=1),
        record_id="0" + first.record_id[1:-1],
    )
    for made in (first, second):
        store.append(made)
    assert second.record_id < first.record_id
    assert store.latest("c") == second
    assert store.latest("nobody") is None


def test_history_follows_replacement(store, event):
    """The history of any id holds all that is connected with it, and nothing else."""
    first = event(consent_id="a")
    second = event(consent_id="b", previous_record=first.record_id)
    third = event(consent_id="b", previous_record=second.record_id)
    for made in (first, second, third, event(), event(consent_id=None)):
        store.append(made)
    for id in ("a", "b", first.record_id, third.record_id):
        assert [record.event for record in store.history(id)] == [first, second, third]
    assert store.history("nobody") == ()


def test_records_are_streamed_in_order(store, event, now):
    """Records come in the order of their ids, of the time that was asked for."""
    made = [event(time=now + timedelta(days=day)) for day in range(5)]
    store.append_all(list(reversed(made)))
    assert [record.event for record in store.records()] == made
    since, until = now + timedelta(days=1), now + timedelta(days=3)
    assert [record.event for record in store.records(since, until)] == made[1:3]
    assert store.count(since, until) == 2


def test_tally(store, event, now):
    """The database adds up equal answers by time and language."""
    store.append_all([event(), event(), event(language="fr"), event(time=now + timedelta(days=40))])
    tally = [(time, language, count) for time, language, _, _, count in store.tally(7)]
    assert sorted(tally) == [("2026-11", "en", 2), ("2026-11", "fr", 1), ("2027-01", "en", 1)]


DOCUMENTATION = Path(__file__).parents[2] / "docs" / "records.md"
TABLES = ("consent_events", "consent_snapshots", "consent_ranges", "consent_seals")


@pytest.mark.parametrize(
    "statement",
    [
        *(f"DELETE FROM {table}" for table in TABLES),
        "UPDATE consent_events SET state = 'given'",
        "UPDATE consent_events SET range_no = 7",
        "UPDATE consent_snapshots SET body = ''",
        "UPDATE consent_ranges SET number = 7",
        "UPDATE consent_seals SET records = 7",
    ],
)
def test_the_database_refuses_changes(store, url, event, now, statement):
    """Nothing can be changed or deleted, whoever tries: the database itself refuses."""
    store.append(event())
    audit.seal(store, now)
    engine = create_engine(url)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert not list(audit.verify(store, audit.Verification()))


def test_rows_cannot_be_replaced(store, url, event, now):
    """What deletes on the way is refused too: REPLACE in SQLite, TRUNCATE in PostgreSQL."""
    store.append(event())
    audit.seal(store, now)
    engine = create_engine(url)
    for table in TABLES:
        sqlite = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
        statement = sqlite if url.startswith("sqlite") else f"TRUNCATE {table}"
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()


def test_tables_of_a_newer_version_are_refused(store, stores, url):
    """A library that is older than the tables says so, and touches nothing."""
    newer = len(MIGRATIONS) + 1
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO consent_schema VALUES ({newer}, '')"))
    engine.dispose()
    with pytest.raises(RecordStoreError, match=f"version {newer}"):
        stores(url).prepare()


def test_nothing_is_opened_at_first(tmp_path, keys):
    """Opening a store connects to nothing, so that a site starts while its database does not."""
    store = open_store(f"sqlite:///{tmp_path}/missing/consent.db", keys)
    with pytest.raises(RecordStoreError):
        store.prepare()
    (tmp_path / "missing").mkdir()
    store.prepare()
    assert store.version == len(MIGRATIONS)
    store.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("sqlite:///file:x?mode=memory&cache=shared&uri=true", "memory"),
        ("mysql://localhost/x", "neither sqlite nor postgresql"),
        ("consent.db", "sqlite:///consent.db"),
        ("postgresql+nosuch://localhost/x", "nosuch"),
        ("postgresql+asyncpg://localhost/x", "asyncpg"),
    ],
)
def test_a_url_that_cannot_hold_records(wrong, message, keys):
    """A URL that is wrong, or a database that proves nothing, is refused with what to do."""
    with pytest.raises(ConfigurationError, match=message):
        open_store(wrong, keys)


def test_sqlite_flushes_every_commit(tmp_path, keys):
    """SQLite runs with the write-ahead log and flushes it at each commit; deleted rows leave no trace."""
    store = open_store(f"sqlite:///{tmp_path}/consent.db", keys)
    with store.database.reading() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        ]
    assert pragmas == ["wal", 2, 1]
    store.close()


def test_a_role_that_can_only_add(stores, empty_postgres, snapshot, event, now):
    """With the grants of the documentation a site can append and read, an auditor seal and purge, no more."""
    grants = re.findall(r"^GRANT [^;]+;", DOCUMENTATION.read_text(encoding="utf-8"), re.MULTILINE)
    owner = stores(empty_postgres)
    owner.save_snapshot(snapshot)
    with owner.database.writing() as connection:
        for role in ("site", "auditor"):
            connection.exec_driver_sql(f"DROP ROLE IF EXISTS {role}")
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
        for grant in grants:
            connection.exec_driver_sql(grant)
    site, auditor = (stores(empty_postgres.replace("postgres@", f"{role}@")) for role in ("site", "auditor"))
    made = event()
    site.append(made)
    assert site.latest(made.consent_id) == made
    with pytest.raises(RecordStoreError, match="permission denied"):
        audit.seal(site, now)
    with pytest.raises(RecordStoreError, match="permission denied"):
        auditor.append(event())
    assert len(audit.seal(auditor, now)) == 1
    audit.purge(auditor, Period.parse("1 year"), now + timedelta(days=800))
    assert auditor.count() == 0
    assert not list(audit.verify(auditor, audit.Verification()))
    with owner.database.writing() as connection:
        connection.exec_driver_sql("DROP OWNED BY site, auditor")
        connection.exec_driver_sql("DROP ROLE site, auditor")
