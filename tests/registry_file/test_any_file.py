"""Whatever stands in a file, it is answered; and an editor never marks what the start accepts."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from consent_middleware.core import registry as core
from consent_middleware.core.periods import Period
from consent_middleware.registry_file import Registry
from consent_middleware.registry_file.converters import FILE, converter_for
from consent_middleware.registry_file.reading import examine_text
from consent_middleware.registry_file.schema import json_schema
from consent_middleware.registry_file.syntax import COOKIE_PERIOD, fits

WORDS = st.one_of(
    st.sampled_from(
        ["", "essential", "analytics", "advertising", "own", "en", "fr", "en_US", "flask", "a b"]
    ),
    st.sampled_from(["session", "13 months", "395 days", "2 years", "1 day", "0 days"]),
    st.sampled_from(["_ga", "_ga*", "*", "a**", "__Host-x", "consent", "é", "a;b", "set-cookie"]),
    st.sampled_from(
        ["www.example.com", ".example.com", "*.example.com", "https://example.com", "/", "/a", "/a/"]
    ),
    st.sampled_from(["drop", "keep", "enforce", "lax", "ad_storage", "continued-browsing", "objection"]),
)
SCALARS = st.one_of(WORDS, WORDS, st.integers(-1, 3), st.booleans(), st.just(1.5), st.text(max_size=3))
KEYS = st.one_of(WORDS, st.sampled_from(["name", "purpose", "x"]))
VALUES = st.recursive(
    SCALARS,
    lambda values: st.one_of(st.lists(values, max_size=3), st.dictionaries(KEYS, values, max_size=2)),
    max_leaves=4,
)


def table(kind):
    """Some of a table's keys with any values, and at times a key that it does not have."""
    known = st.sampled_from(list(converter_for(kind).keys))
    return st.dictionaries(st.one_of(known, known, known, KEYS), VALUES, max_size=4)


COOKIES = st.builds(
    lambda name, purpose, rest: {**rest, "name": name, "purpose": purpose},
    WORDS,
    WORDS,
    table(core.CookieRule),
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "version": st.integers(0, 2),
        "presets": st.lists(WORDS, max_size=2),
        "site": table(core.Site),
        "consent": table(core.ConsentSettings),
        "purposes": st.dictionaries(WORDS, table(core.Purpose), max_size=2),
        "vendors": st.dictionaries(WORDS, table(core.Vendor), max_size=2),
        "cookies": st.lists(COOKIES, max_size=3),
        "gating": table(core.Gating),
        "records": table(core.RecordSettings),
    },
)
VALIDATOR = Draft202012Validator(json_schema())


def toml(value):
    """A JSON value as a TOML value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f") if not isinstance(value, str) else string(value)


def string(text):
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in text) + '"'


def document(raw):
    return "".join(f"{key} = {toml(value)}\n" for key, value in raw.items())


@given(FILES)
def test_any_file_is_a_registry_or_mistakes_with_lines(raw):
    """Never a traceback, never both; each finding has a line and a key that is there or missing there."""
    text = document(raw)
    reading = examine_text(text)
    assert (reading.registry is None) is bool(reading.mistakes)
    assert all(1 <= finding.line <= len(raw) for finding in reading.mistakes + reading.suspicions)
    assert len(set(reading.mistakes)) == len(reading.mistakes)
    if reading.registry:
        assert isinstance(reading.registry, Registry)
        assert examine_text(text).registry == reading.registry


@given(FILES)
def test_what_the_schema_refuses_is_refused(raw):
    """An editor marks nothing that would start."""
    refused = not VALIDATOR.is_valid(tomllib.loads(document(raw)))
    assert not refused or examine_text(document(raw)).mistakes


@given(st.sampled_from(list(FILE.keys)), VALUES)
def test_any_value_at_the_top_is_answered(key, value):
    """A table may be anything but a table."""
    reading = examine_text(f"{key} = {toml(value)}\n")
    assert (reading.registry is None) is bool(reading.mistakes)


@given(st.text(max_size=60))
def test_any_text_is_answered(text):
    """A file need not even be TOML."""
    reading = examine_text(text)
    assert (reading.registry is None) is bool(reading.mistakes)


@given(st.one_of(st.text("0159 dayshmont.", max_size=14), st.from_regex(r"\A\d{1,11} (day|month)s?\Z")))
def test_periods_are_written_as_they_are_read(text):
    """What the check lets pass is what can be read, no more and no less."""
    if fits(COOKIE_PERIOD, text) and text != "session":
        assert Period.parse(text).text == text
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - the text itself is the message
            Period.parse(text)
