"""The line of each key in a TOML document, for messages.

`tomllib` does not tell lines. This scanner reads documents that `tomllib` has accepted, so it checks nothing.
"""

import re

Path = tuple[str | int, ...]
"""The keys that lead to a value, with the numbers of array entries, from 0."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*+")
_SPACE = re.compile(r"[ \t]*+")
_QUOTED = r'"(?:[^"\\\n]|\\.)*+"' + r"|'[^'\n]*+'"
_KEY = re.compile(r"[A-Za-z0-9_-]++|" + _QUOTED)
# Up to two quotes may stand within a multi-line string, also directly before the closing three.
_VALUE = re.compile(
    r'"""(?:\\.|[^"\\]|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{3,5}|" + _QUOTED + r"|[^,\]}#\n]++",
    re.DOTALL,
)


def locate(text: str) -> dict[Path, int]:
    """The line, from 1, of every key and array entry in a valid TOML document."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


def dotted(path: Path) -> str:
    """A path as text: `cookies[3].purpose`; keys that TOML demands quotes for are quoted."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{_spelled(step)}" for step in path)
    return "".join(steps).removeprefix(".")


def _spelled(key: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return key
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._line, self._counted = 1, 0
        self._sizes: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _here(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            start = self.at
            part = self.text[start : self._skip(_KEY)]
            parts.append(_unquoted(part))
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _header(self) -> Path:
        line, brackets = self._here(), 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        *parents, name = self._key()
        self.at += brackets
        path = (*self._within((), parents, line), name)
        if brackets == 1:
            self.lines[path] = line
            return path
        self.lines.setdefault(path, line)
        self._sizes[path] = self._sizes.get(path, 0) + 1
        return self._within((), [*parents, name], line)

    def _within(self, path: Path, parts: list[str], line: int) -> Path:
        """The table that a dotted key leads to; in an array of tables that is the last one."""
        for part in parts:
            path = (*path, part)
            self.lines.setdefault(path, line)
            if path in self._sizes:
                path = (*path, self._sizes[path] - 1)
                self.lines.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self._here()
        path = self._within(table, self._key(), line)
        self.at += 1
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        match self.text[self.at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                self._skip(_VALUE)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.text[self._skip(_BLANK)] != "]":
            self.lines[*path, index] = self._here()
            self._value((*path, index))
            index += 1
            self._comma()
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self.text[self._skip(_BLANK)] != "}":
            self._pair(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1


def _unquoted(part: str) -> str:
    if part[:1] == "'":
        return part[1:-1]
    if part[:1] != '"':
        return part
    import tomllib  # noqa: PLC0415 - imported on first use, by what only wants `findings.nearest`

    return str(tomllib.loads(f"key = {part}")["key"])
