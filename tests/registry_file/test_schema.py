"""The JSON Schema for editors sees what reading sees, as far as a schema can."""

import json
import tomllib
from datetime import date, datetime, time

import pytest
from jsonschema import Draft202012Validator

from consent_middleware import catalogue
from consent_middleware.registry_file.converters import FILE
from consent_middleware.registry_file.positions import dotted
from consent_middleware.registry_file.reading import examine
from consent_middleware.registry_file.schema import json_schema


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def as_json(value):
    """TOML as editors hand it to a JSON Schema: dates become strings."""
    if isinstance(value, dict):
        return {key: as_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_json(entry) for entry in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def places(error):
    """The paths that a validation error speaks of, as reading would name them."""
    path = tuple(error.absolute_path)
    if error.validator == "required":
        return [(*path, key) for key in error.validator_value if key not in error.instance]
    if error.validator == "additionalProperties":
        return [(*path, key) for key in error.instance if key not in error.schema["properties"]]
    if "propertyNames" in error.absolute_schema_path:
        return [(*path, error.instance)]
    return [path]


def seen(validator, path):
    raw = as_json(tomllib.loads(path.read_text("utf-8")))
    return {
        (dotted(place), error.validator) for error in validator.iter_errors(raw) for place in places(error)
    }


def speaks_of(key, place, kind):
    """A choice between two shapes fails as a whole, whatever is wrong within."""
    return key == place or (kind == "anyOf" and key.startswith((f"{place}.", f"{place}[")))


def test_the_schema_accepts_every_good_file(validator, good):
    """No editor marks what the start accepts."""
    assert seen(validator, good.path) == set()


def test_the_schema_refuses_what_it_can_see_and_nothing_else(validator, bad):
    """Each mistake that is a matter of shape is marked at its key; what only reading sees is not."""
    if bad.of("expect, syntax"):
        return
    errors = seen(validator, bad.path)
    shape = {finding.key for finding in bad.of("expect")}
    assert [key for key in shape if not any(speaks_of(key, *error) for error in errors)] == []
    assert [error for error in errors if not any(speaks_of(key, *error) for key in shape)] == []
    blind = {finding.key for finding in bad.of("expect, reading only")} - shape
    assert [key for key in blind if any(speaks_of(key, *error) for error in errors)] == []


def test_the_committed_schema_is_up_to_date(root):
    """Editors read the file in docs: it is what the function makes."""
    committed = (root / "docs/registry.schema.json").read_text("utf-8")
    assert json.loads(committed) == json_schema()
    assert committed == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def tables(schema):
    """Every table that a schema describes."""
    if "properties" in schema:
        yield schema
        for entry in schema["properties"].values():
            yield from tables(entry)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from tables(schema[inner])


def test_every_key_says_what_it_is_for():
    """Each table, and each key of each table, has a description, which editors show."""
    schema = json_schema()
    found = list(tables(schema))
    assert len(found) == 8
    for table in found:
        assert table["description"]
        assert all(entry["description"] for entry in table["properties"].values())
    assert set(schema["properties"]) == set(FILE.keys)


def test_the_schema_knows_no_null():
    """TOML has none."""
    assert "null" not in json.dumps(json_schema())


def test_the_schema_offers_the_presets(validator):
    """A preset that does not exist is marked while it is typed."""
    assert json_schema()["properties"]["presets"]["items"]["enum"] == list(catalogue.presets())


def test_presets_fit_the_schema(validator):
    """The catalogue is written in the language of the registry file."""
    for rules in catalogue.presets().values():
        assert list(validator.iter_errors({"cookies": list(rules)})) == []
    assert list(validator.iter_errors({"purposes": catalogue.purposes()})) == []


def test_bad_files_cover_both_kinds(bad):
    """Every bad file names its mistakes."""
    assert bad.expected
    assert examine(bad.path).registry is None
