"""The JSON Schema of the registry file, for editors."""

from consent_middleware import catalogue

from .converters import FILE, Schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> Schema:
    """What an editor can check while a registry file is written.

    It sees shapes: unknown and missing keys, types, fixed words, how a name, period or address is written.
    What depends on another key, on the calendar or on the catalogue only reading the file tells.
    """
    schema = {"$schema": _DIALECT, "title": "Registry", **FILE.schema()}
    schema["properties"]["presets"]["items"] = {"enum": list(catalogue.presets())}
    return schema
