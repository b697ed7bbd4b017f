"""Data that comes with the library: standard purposes, presets of frameworks, well-known trackers.

Tables of TOML files with the keys of the registry file. Files are read once, when first needed.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

Table = dict[str, Any]


def _load(name: str) -> Table:
    return tomllib.loads(files(__name__).joinpath(*name.split("/")).read_text("utf-8"))


@cache
def purposes() -> dict[str, Table]:
    """The standard purposes by id, in the order in which pages list them."""
    return _load("purposes.toml")


@cache
def trackers() -> tuple[Table, ...]:
    """Cookies that well-known trackers set: `name` (a name or a pattern), `vendor`, `purpose`."""
    return tuple(_load("trackers.toml")["cookies"])


@cache
def presets() -> dict[str, tuple[Table, ...]]:
    """The cookies that frameworks set by themselves, as `[[cookies]]` entries, by the name of the preset."""
    names = sorted(entry.name for entry in files(__name__).joinpath("presets").iterdir())
    return {
        name.removesuffix(".toml"): tuple(_load(f"presets/{name}").get("cookies", ()))
        for name in names
        if name.endswith(".toml")
    }
