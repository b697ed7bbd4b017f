"""Exports, imports and receipts."""

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from consent_middleware.core.consent import Consent
from consent_middleware.errors import RecordStoreError
from consent_middleware.records import audit
from consent_middleware.records.event import COLUMNS, Act, Offer, Record
from consent_middleware.records.receipt import receipt
from consent_middleware.records.seals import Seal
from consent_middleware.records.signing import KeyRing
from consent_middleware.records.snapshot import Snapshot
from consent_middleware.records.transfer import consent_rates, export_csv, export_lines, import_records


@pytest.fixture
def elsewhere(stores, tmp_path):
    """Another store, empty."""
    return lambda keys: stores(f"sqlite:///{tmp_path}/elsewhere.db", keys)


@pytest.fixture
def sqlite(stores, tmp_path, snapshot):
    """A store on SQLite alone."""
    store = stores(f"sqlite:///{tmp_path}/consent.db")
    store.save_snapshot(snapshot)
    return store


def test_an_export_makes_a_store_again(store, elsewhere, event, keys):
    """What is exported as JSON lines can be taken in by an empty store, under newer keys too; twice is once."""
    made = [event(), event(signals=["gpc"], host="[::1]"), event(consent_id=None)]
    store.append_all(made)
    lines = list(export_lines(store))
    other = elsewhere(["a new key", *keys])
    intake = import_records(other, lines)
    assert (intake.taken, intake.known, intake.skipped, intake.refused) == (3, 0, 0, [])
    assert [record.event for record in other.records()] == made
    assert list(other.snapshots()) == list(store.snapshots())
    assert not list(audit.verify(other, audit.Verification()))
    assert import_records(other, lines).known == 3


def test_a_log_is_taken_in(store, event):
    """Records that went to the log are found among its other lines, whatever stands before them."""
    refusal = event(consent_id=None, action=Act.REJECT_ALL)
    log = ["GET / 200\n", f"2026-11-23 ERROR consent: {store.log_line(refusal)}\n", "\n"]
    intake = import_records(store, log * 2)
    assert (intake.taken, intake.known, intake.skipped) == (1, 1, 4)
    assert store.find([refusal.record_id]) == {refusal.record_id: refusal}


def test_only_what_was_signed_is_taken_in(store, event, snapshot):
    """Who can write to a log cannot make consent: a wrong MAC, a strange key, a changed snapshot are refused."""
    good, stored = event(), event()
    store.append(stored)
    line = store.log_line(good)
    lines = [
        line.replace("www.example.com", "other.example.com"),
        Record.signed(good, 0, KeyRing(["strange"])).to_json_line(),
        line[:-20],
        store.log_line(replace(good, snapshot="f" * 64)),
        store.log_line(replace(stored, host="other.example.com")),
        next(export_lines(store)).replace("Google", "Nobody"),
        line,
    ]
    intake = import_records(store, lines)
    assert intake.taken == 1
    reasons = dict(intake.refused)
    assert list(reasons) == [1, 2, 3, 4, 6, 5]
    for number, reason in {
        1: "MAC is wrong",
        2: "not known",
        4: "snapshot",
        5: "another record",
        6: "hash",
    }.items():
        assert reason in reasons[number]


DEEP = "[" * 100_000 + "]" * 100_000
MARKS = ('{"consent_record":', '{"consent_snapshot":')


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    "inside",
    ["{}", "%s}}", '{"x":%s}}', "null,%s", '"x","more":%s}', '"x","body":%s}', '{"event_id":{"x":%s'],
)
def test_no_line_stops_an_import(store, event, mark, inside):
    """A line nested too deep is refused like any other that is damaged; what follows is taken in."""
    lines = [f"{mark}{inside.replace('%s', DEEP)}", store.log_line(event())]
    intake = import_records(store, lines)
    assert intake.taken == 1
    assert [number for number, _ in intake.refused] == [1]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_no_time_stops_an_import(sqlite, event, time):
    """Nor does a time that is outside of the calendar in UTC."""
    content = json.loads(sqlite.log_line(event()))
    content["consent_record"]["time"] = time
    intake = import_records(sqlite, [json.dumps(content), sqlite.log_line(event())])
    assert (intake.taken, [number for number, _ in intake.refused]) == (1, [1])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text()
    | st.datetimes().map(str)
    | st.sampled_from(
        ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\ud800", "\0", "given", []]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_value_stops_an_import(sqlite, event, data):
    """Whatever stands in a field of a record or a snapshot, the line is refused and the next is taken in."""
    content = json.loads(sqlite.log_line(event()))
    table = data.draw(st.sampled_from([content, content["consent_record"]]))
    field, value = data.draw(st.sampled_from(sorted(table))), data.draw(VALUES)
    assume(value != table[field])
    table[field] = value
    snapshot = {"consent_snapshot": data.draw(VALUES), "body": data.draw(VALUES)}
    intake = import_records(sqlite, [json.dumps(content), json.dumps(snapshot), sqlite.log_line(event())])
    assert intake.taken == 1
    assert [number for number, _ in intake.refused] == [1, 2]


def test_a_stored_list_nested_too_deep_is_reported(sqlite, event):
    """The owner of the database can write anything into it; to read it is an error of the store's family."""
    made = event(granted=(), refused=())
    sqlite.append(made)
    with sqlite.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER consent_events_no_update")
        connection.exec_driver_sql("UPDATE consent_events SET granted = ?", (DEEP,))
    with pytest.raises(RecordStoreError, match="cannot be read"):
        sqlite.find([made.record_id])
    assert len(list(audit.verify(sqlite, audit.Verification()))) == 1


def test_a_kept_seal_nested_too_deep_is_none():
    """A line of a file of seals that is none is an error like any other."""
    with pytest.raises(ValueError, match="nested"):
        Seal.from_json_line('{"x":' + DEEP + "}")


def test_a_snapshot_needs_a_record(store, elsewhere, event, keys):
    """Anybody can write a snapshot that has its hash: one that no signed record names is not taken in."""
    store.append(event())
    shown, record = list(export_lines(store))
    forged = Snapshot.of_body('{"site":{"name":"Nobody"}}')
    line = json.dumps({"consent_snapshot": forged.hash, "body": forged.body})
    other = elsewhere(keys)
    intake = import_records(other, [line, shown, line.replace("Nobody", "Nobody\0"), record, line])
    assert (intake.taken, intake.skipped, [number for number, _ in intake.refused]) == (1, 1, [3])
    assert list(other.snapshots()) == list(store.snapshots())


def test_a_record_that_is_refused_brings_no_snapshot(store, elsewhere, event):
    """Nor is a snapshot taken in for a record whose MAC is wrong or whose key is not known."""
    store.append(event())
    lines = list(export_lines(store))
    other = elsewhere(["another key than those"])
    intake = import_records(other, [*lines, lines[1].replace("www.example.com", "other.example.com")])
    assert (intake.taken, intake.skipped, len(intake.refused)) == (0, 1, 2)
    assert list(other.snapshots()) == []


def test_csv(store, event):
    """The table has a header and one line per record, lists separated by blanks."""
    made = event(signals=["gpc", "dnt"])
    store.append(made)
    file = io.StringIO()
    export_csv(store.records(), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert list(rows[0]) == list(COLUMNS)
    assert (rows[0]["record_id"], rows[0]["signals"]) == (made.record_id, "dnt gpc")
    assert rows[0]["granted"].split() == list(made.granted)


def test_consent_rates(store, event, now):
    """Rates count, per time, language and purpose, who granted and who refused."""
    nothing = Consent(decided_at=now, version=2)
    store.append_all([event(), event(), event(consent=nothing), event(language="fr")])
    rates = consent_rates(store.tally(4))
    assert rates["2026", "en", "analytics"] == (2, 1)
    assert rates["2026", "en", "advertising"] == (0, 3)
    assert rates["2026", "fr", "analytics"] == (1, 0)


@pytest.fixture
def issued(event, snapshot, now):
    """Makes the receipt of an event as JSON that went over the wire."""

    def make(later=now, **changes):
        return json.loads(json.dumps(receipt(event(**changes), snapshot, later)))

    return make


def processes(made):
    return {
        process["dct:identifier"]: process for process in made["dpv:hasRecordOfActivity"]["dpv:hasProcess"]
    }


def test_a_receipt_says_what_was_answered(issued, snapshot, now):
    """A receipt names the site, the notice, and each purpose with its answer, in the visitor's language."""
    offer = Offer(
        snapshot=snapshot.hash, asked="d" * 32, version=2, language="fr", layout="box", shown_at=now
    )
    made = issued(offer=offer)
    assert made["@type"] == "dpv:ConsentReceipt"
    record = made["dpv:hasRecordOfActivity"]
    assert record["dpv:hasNotice"]["dct:identifier"] == f"sha256:{snapshot.hash}"
    assert record["dpv:hasDataController"]["dpv:hasName"] == "Example"
    assert record["dpv:hasConsentStatus"][0]["@type"] == ["dpv:ConsentGiven", "dpv:ExpressedConsent"]
    assert processes(made).keys() == {"analytics", "advertising", "counting"}
    analytics = processes(made)["analytics"]
    assert analytics["dpv:hasPurpose"]["skos:prefLabel"] == "Mesure d'audience"
    assert analytics["dpv:hasConsentStatus"] == "dpv:ConsentGiven"
    assert analytics["dpv:hasRecipient"][0]["dpv:hasConsentStatus"] == "dpv:ConsentRefused"
    assert processes(made)["advertising"]["dpv:hasConsentStatus"] == "dpv:ConsentRefused"
    assert processes(made)["counting"]["dpv:hasLegalBasis"] == []


def test_a_receipt_of_a_withdrawal_and_of_an_expired_consent(issued, now):
    """A receipt speaks of the state when it is issued: withdrawn, or expired since."""
    consent = Consent(decided_at=now, version=2, purposes=("analytics",), id="c")
    withdrawn = issued(consent=Consent(decided_at=now, version=2), previous=consent, action=Act.WITHDRAW)
    assert processes(withdrawn)["analytics"]["dpv:hasConsentStatus"] == "dpv:ConsentWithdrawn"
    expired = issued(later=now.replace(year=2030))
    assert processes(expired)["analytics"]["dpv:hasConsentStatus"] == "dpv:ConsentExpired"
    assert processes(expired)["advertising"]["dpv:hasConsentStatus"] == "dpv:ConsentRefused"


def test_a_receipt_gives_no_token_away(issued):
    """The token is the visitor's key to the choice; a file that is mailed around must not hold it."""
    assert "token" not in json.dumps(issued())
