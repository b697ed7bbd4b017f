"""The registry file: reading, positions of mistakes, presets, and its JSON Schema.

What a registry file may hold is declared in `core.registry`. The code that reads is imported on first use.
"""

from .registry import Registry, read_registry

__all__ = ["Registry", "read_registry"]
