"""Seals and verification: what was written stays provable, and what was touched is found."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from consent_middleware.core.periods import Period
from consent_middleware.errors import RecordStoreError
from consent_middleware.records import audit
from consent_middleware.records.event import COLUMNS, Record
from consent_middleware.records.schema import events
from consent_middleware.records.seals import Seal, check_log
from consent_middleware.records.signing import KeyRing
from consent_middleware.records.store import open_store

TEN_YEARS = timedelta(days=3660)


def findings(store, kept=()):
    return list(audit.verify(store, audit.Verification(), kept))


def kinds(store, kept=()):
    return {finding.kind for finding in findings(store, kept)}


@pytest.fixture
def meddle(url):
    """Runs statements as the owner of the database, who can switch the triggers off."""
    engine = create_engine(url)

    def run(*statements):
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                for name in connection.exec_driver_sql(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).all():
                    connection.exec_driver_sql(f"DROP TRIGGER {name[0]}")
            else:
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            for statement in statements:
                connection.execute(statement if not isinstance(statement, str) else text(statement))

    yield run
    engine.dispose()


@pytest.fixture
def sealed(store, event, now):
    """A store with two sealed ranges of three records each, and two records after them."""
    made = [event() for _ in range(8)]
    for position, one in enumerate(made):
        store.append(one)
        if position in {2, 5}:
            audit.seal(store, now)
    return store, made


def test_what_is_untouched_verifies(sealed):
    """Nothing is found where nothing was touched; the count says what seals prove and what they do not."""
    result = audit.Verification()
    assert not list(audit.verify(sealed[0], result))
    assert (result.sealed, result.unsealed, result.purged) == (6, 2, 0)


def test_seals_follow_one_another(sealed, now):
    """Each seal covers what came since the last; with nothing new there is none."""
    store, _ = sealed
    (last,) = audit.seal(store, now)
    assert (last.number, last.range_no, last.records, last.unverified) == (3, 3, 2, 0)
    assert audit.seal(store, now) == ()
    log = store.seals()
    assert [entry.previous for entry in log] == ["", log[0].digest, log[1].digest]
    assert all(Seal.from_json_line(entry.to_json_line()) == entry for entry in log)


def test_a_changed_record_is_named(sealed, meddle):
    """The first record that was changed is named, sealed or not."""
    store, made = sealed
    meddle(
        f"UPDATE consent_events SET host = 'x' WHERE record_id IN ('{made[4].record_id}', '{made[7].record_id}')"
    )
    found = findings(store)
    assert [(finding.kind, finding.record) for finding in found] == [
        ("changed", made[4].record_id),
        ("changed", made[7].record_id),
    ]


@pytest.mark.parametrize("position", [0, 4])
def test_a_lost_record_is_missed(sealed, meddle, position):
    """A sealed record that is gone is missed, and its range named."""
    store, made = sealed
    meddle(f"DELETE FROM consent_events WHERE record_id = '{made[position].record_id}'")
    (found,) = findings(store)
    assert (found.kind, found.range_no) == ("missing", 1 + position // 3)


def test_a_lost_range_is_missed(sealed, meddle):
    """A sealed range of which nothing is left is missed, though no row is there to tell."""
    store, _ = sealed
    meddle("DELETE FROM consent_events WHERE range_no = 1")
    assert [(finding.kind, finding.range_no) for finding in findings(store)] == [("missing", 1)]


def test_a_true_record_does_not_fit_into_a_sealed_range(sealed, meddle, event):
    """Whoever has the key cannot slip a record into what was sealed, nor swap one for another."""
    store, made = sealed
    row = dict(zip(COLUMNS, Record.signed(event(), 1, store.keys).columns, strict=True))
    meddle(events.insert().values(row))
    assert kinds(store) == {"inserted"}
    meddle(f"DELETE FROM consent_events WHERE record_id = '{made[0].record_id}'")
    assert kinds(store) == {"changed"}


def test_a_range_that_never_was(sealed, meddle, event):
    """Records in a range that was never opened are found."""
    store, _ = sealed
    row = dict(zip(COLUMNS, Record.signed(event(), 99, store.keys).columns, strict=True))
    meddle(events.insert().values(row))
    assert kinds(store) == {"inserted"}


@pytest.mark.parametrize("column", ["records", "hash", "at", "ends", "kind", "mac", "previous", "unverified"])
def test_a_changed_seal_is_found(sealed, meddle, column):
    """No part of a seal can be changed unnoticed."""
    store, _ = sealed
    value = "2" if column in {"records", "unverified"} else "'purge'" if column == "kind" else "'x'"
    meddle(f"UPDATE consent_seals SET {column} = {value} WHERE number = 1")
    assert "seal" in kinds(store)


def test_a_seal_taken_out_of_the_middle_is_found(sealed, meddle):
    """The seals are a chain: one that is gone is missed by the next."""
    store, _ = sealed
    meddle("DELETE FROM consent_seals WHERE number = 1")
    assert "seal" in kinds(store)


def test_a_broken_link_proves_nothing_before_it(sealed):
    """A seal proves those before it only through their hashes: one that points elsewhere proves none."""
    old, new = sealed[0].seals(), KeyRing(["a new key"])
    last = replace(old[1], number=3, range_no=3, previous=old[1].digest)
    assert not list(check_log([*old, last.signed(new)], new))
    elsewhere = replace(last, previous="elsewhere").signed(new)
    found = list(check_log([*old, elsewhere], new))
    assert [finding.kind for finding in found] == ["seal", "unproven", "unproven"]


def test_only_a_kept_seal_shows_that_the_end_was_cut_off(sealed, meddle):
    """Records and seals cut off together at the end are missed only by a seal that was kept elsewhere."""
    store, _ = sealed
    kept = store.seals()
    meddle("DELETE FROM consent_seals WHERE number = 2", "DELETE FROM consent_events WHERE range_no > 1")
    assert not findings(store)
    assert kinds(store, kept) == {"seal"}


def test_only_a_kept_seal_holds_against_whoever_has_the_key(sealed, meddle, now):
    """Even the owner of the key cannot make another past that fits a seal which was kept elsewhere."""
    store, made = sealed
    kept = store.seals()
    meddle(
        "DELETE FROM consent_events",
        "DELETE FROM consent_seals",
        "DELETE FROM consent_ranges WHERE number > 1",
    )
    store.append_all(made[:2])
    audit.seal(store, now)
    assert not findings(store)
    assert kinds(store, kept) == {"seal"}


def test_a_changed_or_missing_snapshot_is_found(sealed, meddle):
    """The registry snapshots are part of the proof."""
    store, _ = sealed
    meddle("UPDATE consent_snapshots SET body = replace(body, 'Google', 'Nobody')")
    assert kinds(store) == {"snapshot"}
    meddle("DELETE FROM consent_snapshots")
    assert kinds(store) == {"snapshot"}


def test_a_retired_key_does_no_harm_once_sealed(sealed, stores, url, keys, now):
    """Records and seals of a key that is gone stay proven by any later seal whose key is known."""
    store, _ = sealed
    audit.seal(store, now)
    both = stores(url, ["a new key", *keys])
    fresh = stores(url, ["a new key"])
    assert kinds(fresh) == {"unproven"}
    both.append(replace(next(store.records()).event, record_id="f" * 36))
    audit.seal(both, now)
    result = audit.Verification()
    assert not list(audit.verify(fresh, result))
    assert result.sealed == 9


def test_a_kept_seal_proves_without_any_key(sealed, stores, url):
    """What was sealed is proven by a kept seal alone; what came since is said to be unproven."""
    store, made = sealed
    found = findings(stores(url, ["some other key"]), store.seals())
    assert [(finding.kind, finding.record) for finding in found] == [("unproven", made[6].record_id)]


def test_records_that_do_not_verify_are_sealed_as_such(sealed, meddle, now):
    """A seal does not whitewash: what did not verify before is counted in it, and found after."""
    store, made = sealed
    meddle(f"UPDATE consent_events SET host = 'x' WHERE record_id = '{made[6].record_id}'")
    assert audit.seal(store, now)[0].unverified == 1
    assert kinds(store) == {"changed"}


def test_two_sealers_make_one_seal(sealed, now, monkeypatch):
    """Of two sealers that find the same range closed, the second makes nothing."""
    store, _ = sealed
    monkeypatch.setattr(audit, "_close", lambda *_: [2])
    assert audit.seal(store, now) == ()
    assert len(store.seals()) == 2


def test_an_interrupted_seal_is_taken_up(sealed, event, now, monkeypatch):
    """A range that was closed and not sealed is sealed by the next run, and writing went on meanwhile."""
    store, _ = sealed
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_seal_range", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            audit.seal(store, now)
    store.append(event())
    assert not findings(store)
    assert [(entry.range_no, entry.records) for entry in audit.seal(store, now)] == [(3, 2), (4, 1)]
    assert not findings(store)


def test_purge_takes_whole_ranges_and_leaves_their_seals(sealed, event, now):
    """After the retention whole ranges go, what remains verifies, and the log says what went."""
    store, made = sealed
    assert audit.purge(store, Period.parse("5 years"), now + timedelta(days=1800)) == ()
    gone = audit.purge(store, Period.parse("5 years"), now + TEN_YEARS)
    assert [(entry.kind, entry.range_no) for entry in gone] == [("purge", 1), ("purge", 2)]
    assert [record.event for record in store.records()] == made[6:]
    result = audit.Verification()
    assert not list(audit.verify(store, result))
    assert (result.sealed, result.unsealed, result.purged) == (0, 2, 2)
    assert audit.purge(store, Period.parse("5 years"), now + TEN_YEARS) == ()


def test_purge_keeps_what_still_holds(sealed, now):
    """A record is kept while its choice holds, however short the retention."""
    assert not audit.purge(sealed[0], Period.parse("1 day"), now + timedelta(days=390))
    assert audit.purge(sealed[0], Period.parse("1 day"), now + timedelta(days=400))


def test_an_interrupted_purge_is_taken_up(sealed, now, monkeypatch):
    """A purge that was cut off verifies as it stands, and is finished by the next run."""
    store, _ = sealed
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_remove", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            audit.purge(store, Period.parse("5 years"), now + TEN_YEARS)
    assert not findings(store)
    audit.purge(store, Period.parse("5 years"), now + TEN_YEARS)
    assert store.count() == 2


def test_purge_goes_in_batches(sealed, now, monkeypatch):
    """No transaction removes more than a batch, so that writers never wait long."""
    monkeypatch.setattr(audit, "_PURGE_BATCH", 2)
    removed = []
    audit.purge(sealed[0], Period.parse("5 years"), now + TEN_YEARS, removed.append)
    assert removed == [2, 1, 2, 1]


def test_a_forged_seal_purges_nothing(sealed, meddle, now):
    """A seal that was dated back makes no record go."""
    store, _ = sealed
    meddle("UPDATE consent_seals SET at = '2000-01-01T00:00:00.000Z', ends = '2000-01-01T00:00:00.000Z'")
    with pytest.raises(RecordStoreError, match="run verify"):
        audit.purge(store, Period.parse("5 years"), now)
    assert store.count() == 8


def test_a_deletion_without_its_entry_is_found(sealed, meddle):
    """An entry in the log that was not signed by us permits a deletion to nobody who verifies."""
    store, _ = sealed
    meddle(
        "INSERT INTO consent_seals SELECT 3, 'purge', 1, records, unverified, hash, ends, at, previous, key_id, mac"
        " FROM consent_seals WHERE number = 1",
        "DELETE FROM consent_events WHERE range_no = 1",
    )
    assert "seal" in kinds(store)


@pytest.fixture(scope="module")
def original(tmp_path_factory, event, keys, snapshot, now):
    """A sealed SQLite store without triggers, to be copied and meddled with."""
    path = tmp_path_factory.mktemp("original") / "consent.db"
    store = open_store(f"sqlite:///{path}", keys)
    store.save_snapshot(snapshot)
    for _ in range(3):
        store.append_all([event(network="192.0.2.0/24"), event(consent_id=None), event(signals=["gpc"])])
        audit.seal(store, now)
    with store.database.writing() as connection:
        for name in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            connection.exec_driver_sql(f"DROP TRIGGER {name[0]}")
    rows = [record.columns for record in store.records()]
    store.close()
    return path, rows


VALUES = (
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
    | st.integers(0, 5)
    | st.binary(max_size=3)
)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_change_of_sealed_rows_is_found(original, data):
    """Whatever is done to one sealed row or between two, verification finds it."""
    path, rows = original
    copy = Path(mkdtemp(dir=path.parent)) / "consent.db"
    shutil.copy(path, copy)
    store = open_store(f"sqlite:///{copy}", ["a key that signs all records"])
    ids = st.sampled_from([row[COLUMNS.index("record_id")] for row in rows])
    columns = st.sampled_from(COLUMNS)
    act = data.draw(st.sampled_from(["change", "delete", "insert", "swap"]))
    victim, other, column = data.draw(ids), data.draw(ids), data.draw(columns)
    with store.database.writing() as connection:
        run = connection.exec_driver_sql
        run("PRAGMA ignore_check_constraints = ON")
        before = sorted(run("SELECT * FROM consent_events").all(), key=repr)
        if act == "change":
            run(
                f"UPDATE OR IGNORE consent_events SET {column} = ? WHERE record_id = ?",
                (data.draw(VALUES), victim),
            )
        elif act == "delete":
            run("DELETE FROM consent_events WHERE record_id = ?", (victim,))
        elif act == "insert":
            row = next(row for row in rows if row[1] == victim)
            run(
                f"INSERT INTO consent_events VALUES ({','.join('?' * len(row))})",
                (row[0], f"{victim[:-1]}x", *row[2:]),
            )
        else:
            values = run(
                f"SELECT record_id, {column} FROM consent_events WHERE record_id IN (?, ?)", (victim, other)
            ).all()
            for (id, _), (_, value) in zip(values, reversed(values), strict=True):
                run(f"UPDATE OR IGNORE consent_events SET {column} = ? WHERE record_id = ?", (value, id))
        touched = sorted(run("SELECT * FROM consent_events").all(), key=repr) != before
    assert bool(findings(store)) == touched
    store.close()
    shutil.rmtree(copy.parent)


def test_a_key_ring_alone_makes_no_seal(sealed):
    """The MAC of a seal is never that of a record: neither can pass for the other."""
    entry = sealed[0].seals()[0]
    assert entry.verifies(sealed[0].keys) is True
    assert entry.verifies(KeyRing(["some other key"])) is None
