"""`Registry`: what a site declares, with the ways to read it."""

import os

from consent_middleware.core import registry as core


class Registry(core.Registry, frozen=True, kw_only=True, dict=True):
    """The registry of consent_middleware: purposes, vendors and cookies that a site declares.

    Reading raises `RegistryError` with all mistakes at once; suspicions are warned of as `RegistryWarning`.
    """

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Registry":
        """Read a registry file (TOML 1.0, UTF-8)."""
        from .reading import examine, registry_or_error  # noqa: PLC0415 - imported on first use

        return registry_or_error(examine(path))

    @classmethod
    def from_text(cls, text: str) -> "Registry":
        """Read what would stand in a registry file."""
        from .reading import examine_text, registry_or_error  # noqa: PLC0415 - imported on first use

        return registry_or_error(examine_text(text))


read_registry = Registry.from_file
