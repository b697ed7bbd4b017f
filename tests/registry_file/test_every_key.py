"""Each key of a registry file arrives: what the file says is what the registry holds."""

import tomllib

import pytest
from msgspec import Struct
from msgspec.structs import fields

from consent_middleware.core import registry as core
from consent_middleware.core.periods import Period
from consent_middleware.registry_file.reading import examine
from consent_middleware.registry_file.schema import json_schema

TABLES = {
    "": core.Registry,
    "site": core.Site,
    "consent": core.ConsentSettings,
    "purposes.audience": core.Purpose,
    "vendors.counter": core.Vendor,
    "cookies.0": core.CookieRule,
    "gating": core.Gating,
    "records": core.RecordSettings,
}
NO_KEYS = {
    (core.Purpose, "id"),
    (core.Vendor, "id"),
    (core.CookieRule, "preset"),
}
NAMES = {"domains": "domain", "paths": "path"}
FIELDS = [
    (where, field)
    for where, table in TABLES.items()
    for field in fields(table)
    if (table, field.name) not in NO_KEYS
]


def at(value, where):
    """A table of the file or its counterpart in the registry: by attribute, key or number."""
    for step in filter(None, where.split(".")):
        if isinstance(value, Struct):
            value = getattr(value, step)
        else:
            value = value[int(step) if step.isdigit() else step]
    return value


def as_written(value):
    """A value of the registry as the file says it."""
    match value:
        case core.LocalizedText():
            wordings = dict(value.wordings)
            return wordings.get("", wordings)
        case Period():
            return value.text
        case tuple():
            return [as_written(entry) for entry in value]
    return value


@pytest.fixture(scope="module")
def path(root):
    return root / "tests/registry_files/good/no-defaults.toml"


@pytest.fixture(scope="module")
def registry(path):
    return examine(path).registry


@pytest.fixture(scope="module")
def raw(path):
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize(("where", "field"), FIELDS, ids=lambda part: getattr(part, "name", part or "top"))
def test_the_value_of_each_key_arrives(registry, raw, where, field):
    """A field without a path from the file, or a key that the file above leaves out, fails here."""
    said, found = at(raw, where)[NAMES.get(field.name, field.name)], getattr(at(registry, where), field.name)
    assert found != field.default
    if type(said) is dict and isinstance(found, dict):
        assert said.keys() <= found.keys()
    elif field.name == "cookies":
        assert [rule.name for rule in found if rule.preset is None] == [entry["name"] for entry in said]
    elif not isinstance(found, Struct) or isinstance(found, core.LocalizedText | Period):
        assert as_written(found) in (said, [said])


def test_the_schema_knows_the_same_keys(raw):
    """An editor offers each key that is read, and no other."""
    for where, table in TABLES.items():
        schema = json_schema()
        for step in filter(None, where.split(".")):
            schema = (
                schema.get("properties", {}).get(step)
                or schema.get("additionalProperties")
                or schema["items"]
            )
        fields = {NAMES.get(field.name, field.name) for at, field in FIELDS if at == where}
        assert set(schema["properties"]) == fields == set(at(raw, where)), table


def test_presets_arrive_as_rules(registry):
    """A preset is a list of rules, which come after the file's own."""
    assert [rule.preset for rule in registry.cookies] == [None, "flask"]


def test_every_table_is_walked():
    """A new class of the core's declarations has to be in the table of this file."""
    declared = {kind for kind in vars(core).values() if isinstance(kind, type) and issubclass(kind, Struct)}
    assert declared == {*TABLES.values(), core.LocalizedText, Period, Struct}
