"""What happens to records when things die: processes, connections, disks, clocks."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event as hooks

from consent_middleware.errors import RecordStoreError
from consent_middleware.records import audit
from consent_middleware.records.event import Record, uuid7
from consent_middleware.records.store import open_store

CRASH = Path(__file__).with_name("crash.py")


def findings(store):
    return list(audit.verify(store, audit.Verification()))


def script(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, CRASH, *arguments], env=environment, stdout=subprocess.PIPE, text=True, **options
    )


def test_killed_writers_lose_nothing(url):
    """What a writer acknowledged before it was killed is in the store, once (a long run: `make crash`)."""
    with script("--records", url, "--rounds", "6") as run:
        output = run.stdout.read()
    assert run.returncode == 0, output


def test_four_processes_write_at_once_while_ranges_are_sealed(url, stores):
    """Four processes start on an empty database and write at once; seals made meanwhile hold for good."""
    store = stores(url, ["a key for the crash test"])
    # A slow disk is no failure of what is promised here, so writers of SQLite wait for it.
    patient = f"{url}?timeout=300" if url.startswith("sqlite") else url
    writers = [script("--records", patient, "--write", "15") for _ in range(4)]
    sealed = []
    for writer in writers:
        while writer.poll() is None:
            sealed += audit.seal(store, datetime.now(UTC))
            with suppress(subprocess.TimeoutExpired):
                writer.wait(timeout=0.1)
    ids = {id for writer in writers for id in writer.communicate()[0].split()}
    assert [writer.returncode for writer in writers] == [0] * 4
    audit.seal(store, datetime.now(UTC))
    result = audit.Verification()
    assert not list(audit.verify(store, result, sealed))
    assert len(ids) == result.sealed == store.count() == 4 * 4 * 15
    assert store.find(ids).keys() == ids


def test_a_slow_writer_is_waited_for_by_the_sealer_alone(stores, empty_postgres, snapshot, event, now):
    """A transaction that is under way when its range is closed gets into that range, and holds nobody up."""
    store, slow = stores(empty_postgres), event()
    store.save_snapshot(snapshot)
    store.append(event())
    done = []
    sealing = threading.Thread(target=lambda: done.extend(audit.seal(store, now)))
    other = stores(empty_postgres)
    with other.database.writing() as connection:
        range_no = other.database.claim(connection)
        sealing.start()
        while store.find([(fresh := event()).record_id]) or _range_of(store, fresh) == range_no:
            pass
        assert not done
        values = Record.signed(slow, range_no, store.keys)
        connection.execute(_insert(values))
    sealing.join()
    assert [entry.range_no for entry in done][:1] == [range_no]
    assert slow.record_id in store.find([slow.record_id])
    assert not findings(store)


def _range_of(store, made):
    store.append(made)
    return store.history(made.record_id)[0].range_no


def _insert(record):
    from consent_middleware.records.event import COLUMNS
    from consent_middleware.records.schema import events

    return events.insert().values(dict(zip(COLUMNS, record.columns, strict=True)))


def test_a_full_disk(tmp_path, stores, snapshot, event):
    """On a full disk an append fails clearly, nothing acknowledged is lost, and later it works again."""
    store, acknowledged = stores(f"sqlite:///{tmp_path}/consent.db"), []
    pages = [40]
    hooks.listen(
        store.database.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages[0]}")
    )
    store.save_snapshot(snapshot)

    def fill():
        while True:
            acknowledged.append(event(token="x" * 2000))
            store.append(acknowledged[-1])

    with pytest.raises(RecordStoreError, match="full"):
        fill()
    made = acknowledged.pop()
    assert [record.event for record in store.records()] == acknowledged
    pages[0] = 10_000
    store.close()
    store.append(made)
    assert store.count() == len(acknowledged) + 1
    assert not findings(store)


def test_a_locked_database(tmp_path, stores, snapshot, event):
    """While another holds the database an append fails after its time, and stores nothing; readers go on."""
    store, made = stores(f"sqlite:///{tmp_path}/consent.db?timeout=0.05"), event()
    store.save_snapshot(snapshot)
    other = sqlite3.connect(tmp_path / "consent.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordStoreError, match="locked"):
        store.append(made)
    assert store.count() == 0
    other.close()
    store.append(made)
    assert store.count() == 1


def test_a_connection_lost_before_the_commit(stores, empty_postgres, snapshot, event):
    """A connection that dies in mid-write is replaced, and the record stored once."""
    store, made = stores(empty_postgres), event()
    store.save_snapshot(snapshot)
    killed = []

    def kill(connection, _cursor, statement, *_rest):
        if "INSERT INTO consent_events" in statement and not killed:
            killed.append(_terminate(store, connection))

    hooks.listen(store.database.engine, "before_cursor_execute", kill)
    store.append(made)
    assert killed == [True]
    assert [record.event for record in store.records()] == [made]
    assert not findings(store)


def _terminate(store, connection):
    with store.database.engine.connect() as other:
        pid = connection.connection.driver_connection.info.backend_pid
        return other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)").scalar()


def test_a_connection_lost_after_the_commit(stores, empty_postgres, snapshot, event, monkeypatch):
    """An answer that is lost after the commit makes no second record, and the record counts as stored."""
    store, made = stores(empty_postgres), event()
    store.save_snapshot(snapshot)
    dialect, lost = store.database.engine.dialect, []
    commit = dialect.do_commit

    def commit_and_lose(connection):
        commit(connection)
        if not lost:
            lost.append(True)
            connection.driver_connection.close()
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose)
    store.append(made)
    assert lost == [True]
    assert [record.event for record in store.records()] == [made]


def test_a_server_that_is_gone(keys, event):
    """With no server there, an append says so; the record still makes a signed line for the log."""
    store, made = open_store("postgresql+psycopg://nobody@/none?host=/nonexistent", keys), event()
    with pytest.raises(RecordStoreError, match="connection"):
        store.append(made)
    record = Record.from_json_line(store.log_line(made))
    assert record.event == made
    assert record.verifies(store.keys)


def test_a_clock_that_steps_back(store, event, now):
    """Records dated before a seal, or before each other, are stored, sealed and proven like any other."""
    for step in (0, -3600, 10, -86_400, 20):
        moment = now + timedelta(seconds=step)
        made = event(now=moment, random=os.urandom(16))
        store.append(made)
        store.append(replace(made, record_id=uuid7(moment, os.urandom(10))))
        audit.seal(store, moment)
        assert not findings(store)
    assert [entry.records for entry in store.seals()] == [2] * 5


def test_a_killed_web_server_loses_nothing(tmp_path):
    """Every answer that left a web server with a consent cookie has its record, once, whenever it is killed."""
    command = [sys.executable, str(Path(__file__).with_name("web_crash.py")), "--rounds", "3"]
    result = subprocess.run(
        [*command, "--records", f"sqlite:///{tmp_path / 'consent.db'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 kills" in result.stdout
