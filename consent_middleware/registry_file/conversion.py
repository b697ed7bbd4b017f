"""From what `tomllib` yields to the tables of `tables`, key by key, so that every mistake is seen."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from .findings import Findings, nearest
from .positions import Path
from .tables import ConsentTable, File, GatingTable, Mark, RecordsTable, SiteTable, Table

Convert = Callable[[Any, Path, Findings], Any]
"""Makes a value of what the file holds, or notes a mistake and returns BAD."""

BAD: Any = object()

_KINDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a float",
    datetime: "a date-time",
    date: "a date",
    time: "a time",
    list: "an array",
    dict: "a table",
}
_DATES = (date, datetime, time)


def convert(raw: dict[str, Any], findings: Findings) -> File:
    """The file as tables; what is mistaken is left at its default and noted."""
    file: File = _FILE(raw, (), findings)
    return file


def _converter(kind: Any) -> Convert:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _checked(_converter(args[0]), [mark for mark in kind.__metadata__ if isinstance(mark, Mark)])
    if origin in {Union, UnionType}:
        return _any_of({_plain(arg): _converter(arg) for arg in args if arg is not NoneType})
    if origin is list:
        return _array(_converter(args[0]), _neutral(args[0]))
    if origin is dict:
        return _keyed(_converter(args[0]), _converter(args[1]), _neutral(args[1]))
    if origin is Literal:
        return _one_of(args)
    return _table(kind) if issubclass(kind, Table) else _scalar(kind)


def _plain(kind: Any) -> type:
    """The Python type that `tomllib` has for values of this kind."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _plain(get_args(kind)[0])
    if origin is Literal:
        return str
    plain: type = origin or kind
    return plain


def _neutral(kind: Any) -> Any:
    """What stands for a mistaken entry, so that the others keep their places."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return kind(**dict.fromkeys(_required(kind), ""))
    return ""


def _required(table: type[Table]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(table) if field.required]


def _checked(inner: Convert, marks: Sequence[Mark]) -> Convert:
    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        value = inner(raw, path, findings)
        if value is BAD:
            return BAD
        for mark in marks:
            problem = mark.problem(value)
            if problem:
                findings.mistake(path, *problem)
                return BAD
        return value

    return convert if marks else inner


def _any_of(members: dict[type, Convert]) -> Convert:
    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        member = members.get(type(raw))
        return member(raw, path, findings) if member else _mismatch(list(members), raw, path, findings)

    return convert


def _scalar(kind: type) -> Convert:
    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        try:
            return msgspec.convert(raw, kind, builtin_types=_DATES)
        except msgspec.ValidationError:
            return _mismatch([kind], raw, path, findings)

    return convert


def _one_of(words: tuple[str, ...]) -> Convert:
    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(raw, str):
            return _mismatch([str], raw, path, findings)
        if raw in words:
            return raw
        findings.mistake(path, f"{raw!r} is not one of {', '.join(map(repr, words))}", nearest(raw, words))
        return BAD

    return convert


def _array(entry: Convert, neutral: Any) -> Convert:
    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(raw, list):
            return _mismatch([list], raw, path, findings)
        values = (entry(item, (*path, number), findings) for number, item in enumerate(raw))
        return [neutral if value is BAD else value for value in values]

    return convert


def _keyed(key: Convert, entry: Convert, neutral: Any) -> Convert:
    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(raw, dict):
            return _mismatch([dict], raw, path, findings)
        values = {}
        for name, item in raw.items():
            key(name, (*path, name), findings)
            value = entry(item, (*path, name), findings)
            values[name] = neutral if value is BAD else value
        return values

    return convert


def _table(table: type[Table]) -> Convert:
    hints = get_type_hints(table, include_extras=True)
    # `Struct` has class variables of its own among its hints.
    fields = {name: _converter(hints[name]) for name in table.__struct_fields__}
    required = _required(table)

    def convert(raw: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(raw, dict):
            return _mismatch([dict], raw, path, findings)
        values: dict[str, Any] = {}
        for key, item in raw.items():
            if key in fields:
                value = fields[key](item, (*path, key), findings)
                if value is not BAD:
                    values[key] = value
            else:
                findings.mistake((*path, key), "unknown key", _likely_key(key, list(fields)))
        for key in required:
            if key not in raw:
                findings.mistake((*path, key), "is missing")
            values.setdefault(key, "")
        return table(**values)

    return convert


def _mismatch(kinds: list[type], raw: Any, path: Path, findings: Findings) -> Any:
    expected = " or ".join(_KINDS[kind] for kind in kinds)
    got = "a boolean" if isinstance(raw, bool) else _KINDS[type(raw)]
    findings.mistake(path, f"expected {expected}, got {got}", _remedy(kinds, raw))
    return BAD


def _remedy(kinds: list[type], raw: Any) -> str:
    match raw:
        case str() if list in kinds:
            return "write it in square brackets"
        case str() if kinds[0] in {int, bool, date}:
            return "leave out the quotes"
        case dict() if list in kinds:
            return "each entry has a header of its own in double brackets, as in [[cookies]]"
        case list() if dict in kinds:
            return "each entry has a header with its id, as in [vendors.example]"
        case bool() | int() | float() | date() | time() if str in kinds:
            return "put it in quotes"
        case _:
            return ""


def _likely_key(key: str, keys: list[str]) -> str:
    hint = nearest(key, keys)
    homes = (home for home, known in _HOMES.items() if key in known)
    return hint or next((f"it belongs in {home}" for home in homes), f"known: {', '.join(keys)}")


# A key that is written below the wrong header is the mistake that TOML invites most.
_HOMES = {
    "the top of the file, before the first [table]": File.__struct_fields__,
    "[site]": SiteTable.__struct_fields__,
    "[consent]": ConsentTable.__struct_fields__,
    "[gating]": GatingTable.__struct_fields__,
    "[records]": RecordsTable.__struct_fields__,
}
_FILE = _converter(File)
