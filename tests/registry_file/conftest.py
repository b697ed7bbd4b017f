"""The table of registry files: each line that is wrong says so itself, in a comment.

`# expect: KEY ~ TEXT` is a mistake that the JSON Schema sees too, `# expect, reading only: KEY ~ TEXT` one
that it cannot see, `# expect, syntax: line N ~ TEXT` one that hides all others, `# warn: KEY ~ TEXT` a
suspicion. TEXT is part of the message, hint included.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

FILES = Path(__file__).parents[1] / "registry_files"
_COMMENT = re.compile(
    r"# (expect|expect, reading only|expect, syntax|warn): (.+?) ~ (.+?)(?= # (?:expect|warn)|$)"
)


@dataclass(frozen=True)
class Expected:
    kind: str
    line: int
    key: str
    text: str


@dataclass(frozen=True)
class Case:
    path: Path
    expected: tuple[Expected, ...]

    def of(self, *kinds):
        return [finding for finding in self.expected if finding.kind in kinds]


def case(path):
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        for kind, key, text in _COMMENT.findall(line):
            if kind == "expect, syntax":
                found.append(Expected(kind, int(key.removeprefix("line ")), "", text))
            else:
                found.append(Expected(kind, number, key, text))
    return Case(path, tuple(found))


def pytest_generate_tests(metafunc):
    for fixture, folder in (("good", "good"), ("bad", "bad")):
        if fixture in metafunc.fixturenames:
            paths = sorted((FILES / folder).glob("*.toml"))
            metafunc.parametrize(fixture, [case(path) for path in paths], ids=[path.stem for path in paths])


@pytest.fixture(scope="session")
def root():
    return Path(__file__).parents[2]
