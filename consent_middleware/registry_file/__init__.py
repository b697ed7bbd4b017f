"""The registry file: reading, positions of mistakes, presets, and its JSON Schema."""

from .reading import Reading, Registry, examine, examine_text, read_registry, read_registry_text
from .schema import json_schema

__all__ = [
    "Reading",
    "Registry",
    "examine",
    "examine_text",
    "json_schema",
    "read_registry",
    "read_registry_text",
]
