"""The JSON Schema of the registry file, for editors."""

from typing import Any

import msgspec

from consent_middleware import catalogue

from .tables import File

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """What an editor can check while a registry file is written.

    It sees shapes: unknown and missing keys, types, fixed words, how a name, period or address is written.
    What depends on another key, on the calendar or on the catalogue only reading the file tells.
    """
    _, definitions = msgspec.json.schema_components([File], ref_template="#/$defs/{name}")
    schema = _without_null(definitions.pop("File"))
    schema["properties"]["presets"]["items"] = {"enum": list(catalogue.presets())}
    return {"$schema": _DIALECT, **schema, "$defs": _without_null(definitions)}


def _without_null(schema: Any) -> Any:
    """TOML has no null: a key without a value is left out."""
    if isinstance(schema, list):
        return [_without_null(entry) for entry in schema if entry != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    clean = {key: _without_null(value) for key, value in schema.items() if value is not None}
    if len(clean.get("anyOf", ())) == 1:
        clean |= clean.pop("anyOf")[0]
    if isinstance(clean.get("enum"), list):
        clean["enum"] = [word for word in clean["enum"] if word is not None]
    return clean
