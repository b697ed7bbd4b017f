"""A store keeps to itself what it holds and how it is reached: its URL, its parameters, its files."""

import os
import sqlite3
import stat
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from consent_middleware.errors import ConfigurationError, RecordStoreError
from consent_middleware.records.store import open_store

SECRET = "hunter2hunter2"


def told(error: BaseException) -> str:
    """All that a traceback shows of an exception, with everything that it is chained to."""
    seen, texts = error, []
    while seen is not None:
        texts += [str(seen), repr(seen)]
        seen = seen.__cause__ or seen.__context__
    return "".join([*texts, *traceback.format_exception(error)])


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://site:{SECRET}@db/consent",
        f"postgresql+asyncpg://site:{SECRET}@db/consent",
        f"postgresql+psycopg_async://site:{SECRET}@db/consent",
        f"postgresql+nosuch://site:{SECRET}@db/consent",
        f"mysql://site:{SECRET}@db/consent",
        f"postgresql+psycopg://site:{SECRET}/consent",
        f"postgresql+psycopg://site:{SECRET}:5432/consent",
        f"postgresql+psycopg://site:{SECRET}@db:port/consent",
        "postgresql+psycopg://site:98765432/consent",
        f"postgresql+psycopg://db:{SECRET}",
        f"postgresql+psycopg://site:pass@{SECRET}@db/consent",
        f"postgresql+psycopg://site:p@ss/{SECRET}@db/consent",
        f"postgresql+psycopg://site:p@ss?{SECRET}@db/consent",
        f"postgresql+psycopg://site:p@[{SECRET}@db/consent",
        f"postgresql+psycopg://si/te:{SECRET}@db/consent",
        f"postgresql+psycopg:/site:{SECRET}@db/consent",
        f"site:{SECRET}@db/consent",
        f"{SECRET}",
        f"postgresql+psycopg//site:{SECRET}@db/consent",
        f"postgresql psycopg://site:{SECRET}@db/consent",
        f"sqlite://site:{SECRET}@db/consent.db",
        f"sqlite://site:{SECRET}@/:memory:",
        f"sqlite:///file:x?mode=memory&uri=true&key={SECRET}",
        f"sqlite:///file::memory:?uri=true&key={SECRET}",
        f"sqlite:///x.db?timeout={SECRET}",
        f"sqlite+aiosqlite:///x.db?key={SECRET}",
        f"sqlite+nosuch:///x.db?key={SECRET}",
        f"postgresql+psycopg://db/consent?password={SECRET}&connect_timeout=@",
    ],
)
def test_a_mistyped_url_is_refused_without_its_password(url, keys):
    """Whatever is wrong with a URL, the message, and what it is chained to, says it without the password."""
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, keys)
    assert SECRET not in told(caught.value)
    assert "98765432" not in told(caught.value)
    assert str(caught.value).startswith("records: ")


def hosts(url):
    """The host that a URL leads to, or all that is told of why it leads nowhere."""
    try:
        store = open_store(url, ["a key of many letters"])
    except ConfigurationError as error:
        return told(error)
    store.close()
    return store.database.engine.url.host


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("sqlite:///{}/x.db?pasword={}", "pasword"),
        ("sqlite:///{}/x.db?mode=ro&key={}", "mode"),
        ("sqlite:///{}/x.db?timeout=5&factory={}", "factory"),
        ("sqlite:///{}/x.db?timeout={}", "timeout"),
        ("sqlite:///{}/x.db?timeout=5&timeout={}", "timeout"),
        ("sqlite:///{}/x.db?check_same_thread={}", "check_same_thread"),
        ("sqlite:///{}/x.db?uri={}", "uri"),
        ("sqlite:///{}/x.db?detect_types=99999999999&detect_types={}", "detect_types"),
        ("sqlite:///{}/x.db?detect_types=99999999999", "detect_types"),
        ("sqlite:///{}/x.db?cached_statements=99999999999", "cached_statements"),
        ("sqlite:///file:{}/x.db?uri=true&mdoe=ro&key={}", "mdoe"),
        ("sqlite:///file:{}/x.db?uri=true&Mode=ro", "Mode"),
        ("postgresql+psycopg://site:{1}@db/consent?pasword={1}", "pasword"),
        ("postgresql+psycopg://site:{1}@db/consent?sslmode=require&ssl_mode={1}", "ssl_mode"),
        ("postgresql+psycopg://site:{1}@db/consent?row_factory={1}", "row_factory"),
        ("postgresql+psycopg://db/consent?autocommit=true", "autocommit"),
        ("postgresql+psycopg://db/consent?password={1}&password=x", "password"),
    ],
)
def test_an_option_that_does_not_fit_is_named(tmp_path, keys, url, option):
    """What the driver would not take, or would pass over, is refused at start and named, without a value."""
    with pytest.raises(ConfigurationError, match=rf"^records: .*\b{option}\b") as caught:
        open_store(url.format(tmp_path, SECRET), keys)
    assert SECRET not in told(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{}/x.db?timeout=7.5&check_same_thread=false&cached_statements=10&detect_types=1",
        "sqlite:///file:{}/x.db?uri=true&mode=rwc&cache=private&vfs=unix&psow=1",
        "sqlite:///{}/x.db?uri=false",
        "sqlite+pysqlite:///{}/x.db",
    ],
)
def test_options_that_fit(tmp_path, keys, url):
    """The options of the driver, and those of SQLite's own addresses, are passed on."""
    store = open_store(url.format(tmp_path), keys)
    store.prepare()
    store.close()
    assert modes(tmp_path)["x.db"] == 0o600


@pytest.mark.parametrize(
    "options",
    ["?sslmode=require&application_name=x", "?connect_timeout=2&options=-c%20x%3D1", "?host=a:1&host=b:2"],
)
def test_options_of_postgresql_that_fit(keys, options):
    """The options of libpq are passed on."""
    open_store(f"postgresql+psycopg://site:{SECRET}@db/consent{options}", keys).close()


def test_a_name_that_no_file_can_have(keys):
    """A file whose name holds a NUL is a mistake in the configuration."""
    with pytest.raises(ConfigurationError, match=r"records: "):
        open_store("sqlite:///x\x00y.db", keys)


# Letters that no message of ours has, so that any part of the password would be found in it.
@given(st.text("ÀÉÎ:/?#[]@%& =+\\'\"", max_size=12))
@example("@À")
def test_no_password_is_ever_printed(middle):
    """A password that was not percent-encoded is refused without a word of it, or else leads to the right host."""
    found = hosts(f"postgresql+psycopg://site:ÀÀÀ{middle}ÉÉÉ@db:5432/consent")
    assert found == "db" or not set("ÀÉÎ") & set(found)


@pytest.mark.parametrize("url", [None, 7, Path("consent.db"), b"sqlite:///x.db"])
def test_what_is_no_text_is_no_url(url, keys):
    """A path or a number where a URL belongs is a mistake in the configuration."""
    with pytest.raises(ConfigurationError, match=r"records: .*sqlite:///consent\.db"):
        open_store(url, keys)


def test_a_failure_to_connect_shows_no_password(keys):
    """What the driver says when it cannot connect is passed on, without the password."""
    store = open_store(
        f"postgresql+psycopg://site:{SECRET}@127.0.0.1:1/consent?connect_timeout={SECRET}", keys
    )
    with pytest.raises(RecordStoreError) as caught:
        store.prepare()
    store.close()
    assert SECRET not in str(caught.value)


def test_a_failed_statement_shows_no_parameters(store, event):
    """An error shows neither the token nor the ids of the record that could not be stored."""
    made = event(token=SECRET, consent_id=SECRET)
    store.append(made)
    with pytest.raises(RecordStoreError) as caught:
        store.append(replace(made, host="other.example.com"))
    assert SECRET not in told(caught.value)
    assert made.record_id not in str(caught.value)


def test_a_row_that_the_database_refuses_is_not_shown(store, event, url):
    """PostgreSQL adds the row to the message of some errors: what is passed on is the message alone."""
    with pytest.raises(RecordStoreError) as caught:
        store.append(replace(event(token=SECRET), host=None))
    assert SECRET not in str(caught.value)
    assert "host" in str(caught.value)


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in sorted(folder.iterdir())}


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("form", ["sqlite:///{}/consent.db", "sqlite:///file:{}/consent.db?uri=true"])
def test_files_are_for_their_owner_alone(tmp_path, keys, snapshot, umask, form):
    """The database, its log and its index are made readable for their owner alone, whatever the umask."""
    store = open_store(form.format(tmp_path), keys)
    store.save_snapshot(snapshot)
    with store.database.reading() as connection:
        connection.execute(text("SELECT 1 FROM consent_events")).all()
        assert modes(tmp_path) == dict.fromkeys(["consent.db", "consent.db-shm", "consent.db-wal"], 0o600)
    store.close()


def test_the_mode_of_a_file_that_is_there_stays(tmp_path, keys, snapshot):
    """Who has given a group access to the file keeps it."""
    path = tmp_path / "consent.db"
    sqlite3.connect(path).close()
    path.touch()
    path.chmod(0o640)
    store = open_store(f"sqlite:///{path}", keys)
    store.save_snapshot(snapshot)
    with store.database.reading():
        assert modes(tmp_path) == dict.fromkeys(["consent.db", "consent.db-shm", "consent.db-wal"], 0o640)
    store.close()


def test_a_link_to_nowhere_is_followed(tmp_path, keys, snapshot):
    """A link that leads to no file yet makes that file, for its owner alone."""
    (tmp_path / "files").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "files" / "consent.db")
    store = open_store(f"sqlite:///{tmp_path}/link.db", keys)
    store.save_snapshot(snapshot)
    assert modes(tmp_path / "files")["consent.db"] == 0o600
    store.close()


def test_a_file_that_must_exist_is_not_made(tmp_path, keys):
    """A URL whose SQLite mode opens existing files alone makes none."""
    store = open_store(f"sqlite:///file:{tmp_path}/consent.db?mode=rw&uri=true", keys)
    with pytest.raises(RecordStoreError, match="unable to open"):
        store.prepare()
    store.close()
    assert modes(tmp_path) == {}
