"""What the documents for people who work on the package say of its files is true."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "consent_middleware"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def modules_of_the_page():
    listed = ARCHITECTURE.partition("## Modules\n")[2]
    return re.findall(r"^(\S+\.py) +\S", listed, re.MULTILINE)


def test_the_list_of_modules_is_the_tree():
    """Each module has its line on the page, and each line its module, once."""
    listed = modules_of_the_page()
    assert sorted(listed) == sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def test_the_flows_name_what_is_there():
    """Wherever the page names a module of the core or of the records, there is one."""
    flows = ARCHITECTURE.partition("## Modules\n")[0]
    named = set(re.findall(r"\b(?:core|records|registry_file|pages)/\w+", flows))
    assert len(named) > 8
    assert {name for name in named if not (PACKAGE / f"{name}.py").exists()} == set()


def test_what_contributors_are_sent_to_exists():
    """Files, folders and make targets that CONTRIBUTING names."""
    paths = re.findall(r"(?<![\w/])((?:consent_middleware|tests|docs)/[\w./-]*\w)", CONTRIBUTING)
    assert len(paths) > 16
    assert [path for path in paths if not (ROOT / path).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", CONTRIBUTING, re.MULTILINE))
    assert {"demo", "test", "lint"} <= named <= targets
