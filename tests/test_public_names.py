"""What the root exports: all that a site's own code has to name, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

import consent_middleware
from consent_middleware import errors
from consent_middleware.core import registry

ROOT = Path(__file__).parent.parent
INTERNAL = {"BadTokenError"}
LOADED_ON_FIRST_USE = {
    "consent_middleware.registry_file.reading",
    "consent_middleware.registry_file.converters",
    "difflib",
}


def defined_in(module, *kinds):
    return {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, kinds) and value.__module__ == module.__name__
    }


def test_everything_that_can_be_caught_or_warned_of_is_exported():
    """An `except` clause or a warning filter names what the root has."""
    assert defined_in(errors, Exception) - set(consent_middleware.__all__) == INTERNAL


def test_the_values_of_a_registry_are_exported():
    """A hook that is handed a rule or a purpose can say so in its annotations; there is one `Registry`."""
    assert defined_in(registry, Struct) <= set(consent_middleware.__all__)
    assert issubclass(consent_middleware.Registry, registry.Registry)
    assert consent_middleware.Registry.from_text("").site == consent_middleware.Site()


def test_what_reads_files_is_loaded_on_first_use():
    """Importing a door loads nothing that only a start or a mistake needs."""
    code = "import sys, consent_middleware.asgi, consent_middleware.wsgi; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert LOADED_ON_FIRST_USE & set(loaded.split()) == set()


TYPED = """
from consent_middleware import ConsentPolicy, CookieRule, Purpose, Registry

policy = ConsentPolicy(Registry.from_file("cookies.toml"), secret_keys="k")
registry: Registry = policy.registry
rule: CookieRule | None = registry.classify("_ga")
purpose: Purpose = registry.purposes["analytics"]
"""


def test_a_policys_registry_is_the_registry_of_the_root(tmp_path):
    """`registry: Registry = policy.registry` passes a strict type checker."""
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "site.py"
    script.write_text(TYPED)
    told, errors, status = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(script)])
    assert (told, errors, status) == ("Success: no issues found in 1 source file\n", "", 0)
