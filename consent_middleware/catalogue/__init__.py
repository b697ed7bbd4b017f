"""Data that comes with the library: standard purposes, presets of frameworks, well-known trackers.

Tables of TOML files with the keys of the registry file. Files are read once, when first needed.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Table = dict[str, Any]


def _folder() -> "Traversable":
    from importlib.resources import files  # noqa: PLC0415 - imported on first use: it loads shutil and tempfile

    return files(__name__)


def _load(name: str) -> Table:
    import tomllib  # noqa: PLC0415 - imported on first use

    return tomllib.loads(_folder().joinpath(*name.split("/")).read_text("utf-8"))


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
    names = sorted(entry.name for entry in _folder().joinpath("presets").iterdir())
    return {
        name.removesuffix(".toml"): tuple(_load(f"presets/{name}").get("cookies", ()))
        for name in names
        if name.endswith(".toml")
    }
