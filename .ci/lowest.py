"""Prints pip constraints: every direct dependency, of the package and of its tests, at its lowest version."""

import re
import sys
import tomllib
from pathlib import Path

_LOWER_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)")


def main() -> None:
    """One line per dependency, as pip's `--constraint` reads them."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    lists = (project["project"]["dependencies"], *extras, project["dependency-groups"]["test"])
    found = (_LOWER_BOUND.fullmatch(name) for names in lists for name in names)
    bounds = sorted({bound.groups() for bound in found if bound})
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in bounds)


if __name__ == "__main__":
    main()
