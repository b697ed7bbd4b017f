"""`consent-middleware records`, as people and cron call it."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from consent_middleware.cli import main
from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.consent import Consent
from consent_middleware.core.registry import LocalizedText, Purpose, Registry
from consent_middleware.records import audit
from consent_middleware.records.event import Act, Source, make_event
from consent_middleware.records.snapshot import snapshot_of
from consent_middleware.records.store import open_store

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
KEY = "a-key-of-the-command-line"


@pytest.fixture
def store(tmp_path):
    """A store with one grant and one refusal."""
    store = open_store(f"sqlite:///{tmp_path}/consent.db", [KEY])
    compiled = compile_registry(
        Registry(purposes={"analytics": Purpose(id="analytics", title=LocalizedText.of("Analytics"))})
    )
    snapshot = snapshot_of(compiled.registry, "templates")
    store.save_snapshot(snapshot)
    for number, purposes in enumerate([("analytics",), ()]):
        id = "some-visitor" if purposes else None
        consent = Consent(decided_at=NOW, version=1, purposes=purposes, id=id)
        moment = NOW + timedelta(seconds=number)
        store.append(
            make_event(
                random=bytes(16),
                consent=consent,
                compiled=compiled,
                snapshot=snapshot.hash,
                source=Source.BANNER,
                action=Act.SAVE,
                token="t",
                now=moment,
                host="www.example.com",
                language="en",
            )
        )
    yield store
    store.close()


@pytest.fixture
def run(tmp_path):
    """Runs one command of the group; the result has `exit_code`, `stdout` and `stderr`."""
    environment = {"CONSENT_RECORDS": f"sqlite:///{tmp_path}/consent.db", "CONSENT_SECRET_KEYS": f"new {KEY}"}
    return lambda *arguments, **more: CliRunner(env=environment | more).invoke(
        main, ["records", *map(str, arguments)]
    )


def test_show(store, run):
    """A record is shown to people with all that it holds, to machines as JSON, to visitors as a receipt."""
    shown = run("show", "some-visitor")
    assert shown.exit_code == 0
    assert "given (dpv:ConsentGiven)" in shown.stdout
    assert "MAC       right" in shown.stdout
    assert (
        json.loads(run("show", "some-visitor", "--json").stdout)["consent_record"]["host"]
        == "www.example.com"
    )
    assert json.loads(run("show", "some-visitor", "--receipt").stdout)["@type"] == "dpv:ConsentReceipt"
    missing = run("show", "nobody")
    assert (missing.exit_code, "nobody" in missing.stderr) == (1, True)


def test_a_receipt_without_its_snapshot(store, run):
    """No receipt is made up where the registry that was shown is missing."""
    with store.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER consent_snapshots_no_delete")
        connection.exec_driver_sql("DELETE FROM consent_snapshots")
    failed = run("show", "some-visitor", "--receipt")
    assert (failed.exit_code, "run verify" in failed.stderr) == (2, True)


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_export_is_for_its_owner_alone(store, run, tmp_path, umask, kind):
    """The file holds personal data: it is made with mode 0600, whatever the umask."""
    file = tmp_path / "export"
    assert run("export", "-o", file, "--format", kind).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_bytes()
    assert b"some-visitor" in first
    file.write_bytes(first * 2)
    assert run("export", "-o", file, "--format", kind).exit_code == 0
    assert file.read_bytes() == first


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o666])
@pytest.mark.parametrize("linked", [False, True])
def test_no_export_into_a_file_of_others(store, run, tmp_path, mode, linked):
    """What others can open already, or have open, gets no records and keeps what it holds; links lead there too."""
    file = tmp_path / "public"
    file.write_text("kept")
    file.chmod(mode)
    given = file
    if linked:
        given = tmp_path / "link"
        given.symlink_to(file)
    result = run("export", "-o", given)
    assert (result.exit_code, file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (2, "kept", mode)
    assert str(given) in result.stderr
    assert "chmod 600" in result.stderr


def test_an_export_to_what_keeps_nothing(store, run, tmp_path):
    """A device is no file that somebody could read later; a link to nowhere and a folder are errors of two lines."""
    assert run("export", "-o", os.devnull).exit_code == 0
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("link", "no/such/folder", "."):
        result = run("export", "-o", tmp_path / name)
        assert result.exit_code == 2
        assert not isinstance(result.exception, OSError)
    assert not (tmp_path / "nowhere").exists()


def test_nothing_is_overwritten_before_the_store_is_open(store, run, tmp_path):
    """A store that cannot be opened leaves the last export as it is."""
    file = tmp_path / "export"
    run("export", "-o", file)
    kept = file.read_bytes()
    assert run("export", "-o", file, "--records", "mysql://x/y").exit_code == 2
    assert run("export", "-o", file, "--records", f"sqlite:///{tmp_path}/no/such.db").exit_code == 2
    assert file.read_bytes() == kept


def test_export_and_import(store, run, tmp_path):
    """What is exported can be imported elsewhere; a line that is refused is named and makes the status 1."""
    file = tmp_path / "export.jsonl"
    assert run("export", "-o", file).exit_code == 0
    other = f"sqlite:///{tmp_path}/other.db"
    assert "2 taken in, 0 known" in run("import", file, "--records", other).stdout
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"consent_record":{}}\n')
    again = run("import", file, "--records", other)
    assert (again.exit_code, "2 known" in again.stdout) == (1, True)
    assert "export.jsonl:4:" in again.stderr
    table = run("export", "--format", "csv", "--since", "2026-11-23T09:30:00").stdout.splitlines()
    assert len(table) == 2, "the refusal is dated to the day"


def test_seal_and_verify(store, run, tmp_path):
    """A seal is printed as a line that verify takes; verify ends with 0, or with 1 where something is found."""
    sealed = run("seal")
    assert (sealed.exit_code, json.loads(sealed.stdout)["records"]) == (0, 2)
    assert run("seal").stdout == ""
    kept = tmp_path / "seals"
    kept.write_text(sealed.stdout, encoding="utf-8")
    fine = run("verify", "--seal", kept)
    assert (fine.exit_code, "no findings; 2 records proven" in fine.stdout) == (0, True)
    with store.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER consent_events_no_update")
        connection.exec_driver_sql("UPDATE consent_events SET host = 'x'")
    found = run("verify")
    assert (found.exit_code, found.stdout.count("changed: range 1")) == (1, 2)
    lines = [json.loads(line) for line in run("verify", "--json").stdout.splitlines()]
    assert (lines[0]["kind"], lines[-1]["findings"]) == ("changed", 2)


def test_what_does_not_verify_is_sealed_with_status_1(store, run):
    """Cron hears of records that do not verify when they are sealed."""
    with store.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER consent_events_no_update")
        connection.exec_driver_sql("UPDATE consent_events SET host = 'x'")
    sealed = run("seal")
    assert (sealed.exit_code, "2 records do not verify" in sealed.stderr) == (1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"CONSENT_RECORDS": "sqlite:////nonexistent/consent.db"},
        {"CONSENT_RECORDS": "mysql://x"},
        {"CONSENT_RECORDS": None},
        {"CONSENT_SECRET_KEYS": ""},
    ],
)
def test_what_cannot_run_ends_with_2(store, run, change):
    """Without a store or a key verify cannot run: status 2, which is not "something was found"."""
    assert run("verify", **change).exit_code == 2


def test_a_seal_file_that_is_none(store, run, tmp_path):
    """A file of seals that holds something else is an error, not a finding."""
    (tmp_path / "seals").write_text("no seal\n", encoding="utf-8")
    assert run("verify", "--seal", tmp_path / "seals").exit_code == 2


def test_stats(store, run):
    """The consent rate per purpose, as a table, JSON and CSV."""
    assert "0.5" in run("stats").stdout
    (row,) = json.loads(run("stats", "--format", "json", "--by", "year").stdout)
    assert row == {
        "time": "2026",
        "language": "en",
        "purpose": "analytics",
        "granted": 1,
        "refused": 1,
        "rate": 0.5,
    }
    assert run("stats", "--format", "csv").stdout.splitlines()[1] == "2026-11,en,analytics,1,1,0.5"


def test_purge(store, run):
    """A purge says beforehand what would go, and then lets it go."""
    audit.seal(store, NOW - timedelta(days=4000))
    assert "0 ranges" in run("purge", "--retention", "50 years").stdout
    assert run("purge", "--retention", "for ever").exit_code == 2
    with store.database.reading() as connection:
        assert (
            connection.exec_driver_sql("SELECT max(ends) FROM consent_seals").scalar().startswith("2027-12")
        )


def test_purge_of_what_has_ended(tmp_path, run):
    """Once retention and validity are over, dry run and purge agree on what goes."""
    store = open_store(f"sqlite:///{tmp_path}/consent.db", [KEY])
    past = datetime(2015, 1, 1, tzinfo=UTC)
    compiled = compile_registry(
        Registry(purposes={"analytics": Purpose(id="analytics", title=LocalizedText.of("Analytics"))})
    )
    snapshot = snapshot_of(compiled.registry, "templates")
    store.save_snapshot(snapshot)
    consent = Consent(decided_at=past, version=1)
    store.append(
        make_event(
            random=bytes(16),
            consent=consent,
            compiled=compiled,
            snapshot=snapshot.hash,
            source=Source.BANNER,
            action=Act.REJECT_ALL,
            token="t",
            now=past,
        )
    )
    audit.seal(store, past)
    registry = tmp_path / "cookies.toml"
    assert run("purge", "--registry", registry).exit_code == 2
    registry.write_text('[records]\nretention = "5 years"\n', encoding="utf-8")
    assert run("purge", "--registry", registry, "--dry-run").stdout == "1 ranges with 1 records would go\n"
    assert store.count() == 1
    assert run("purge", "--retention", "5 years").stdout == "1 ranges with 1 records purged\n"
    assert store.count() == 0
    assert run("verify").exit_code == 0
    store.close()


def test_migrate(run):
    """Migrating says from which version to which."""
    assert run("migrate").stdout == "version 0 -> 1\n"
    assert run("migrate").stdout == "version 1 -> 1\n"


def test_help_needs_nothing():
    """The list of commands is there without SQLAlchemy; calling one that needs it says what to install."""
    blocked = "import sys; sys.modules['sqlalchemy'] = None; from consent_middleware.cli import main; main()"
    listed = subprocess.run(
        [sys.executable, "-c", blocked, "--help"], capture_output=True, text=True, check=True
    )
    assert "records" in listed.stdout
    called = subprocess.run(
        [sys.executable, "-c", blocked, "records"], capture_output=True, text=True, check=False
    )
    assert (called.returncode, "consent-middleware[records]" in called.stderr) == (1, True)


def test_module_can_be_run():
    """`python -m consent_middleware` is the command line."""
    run = subprocess.run(
        [sys.executable, "-m", "consent_middleware", "--help"], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("Usage: consent-middleware")


def test_the_core_loads_no_sqlalchemy():
    """The values that offers and records share load no SQLAlchemy, no click."""
    code = (
        "import sys, consent_middleware.records.event, consent_middleware.records.snapshot,"
        " consent_middleware.records.receipt; print({'sqlalchemy', 'click'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("content", [b"\x7fELF\xd0\x00", b"{", b"[]", b"\xff", b'{"number":1}'])
def test_a_file_of_seals_that_is_none(store, run, tmp_path, content):
    """What cannot be read is no finding: the command could not run, and says which file it was."""
    (tmp_path / "seals").write_bytes(content)
    result = run("verify", "--seal", tmp_path / "seals")
    assert (result.exit_code, str(tmp_path / "seals") in result.stderr) == (2, True)


def test_an_id_that_no_text_can_be(store, run):
    """An argument in octets that are no UTF-8 names no record."""
    result = run("show", "\udcff")
    assert (result.exit_code, "no record has the id" in result.stderr) == (1, True)
