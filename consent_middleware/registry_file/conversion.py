"""From what `tomllib` yields to the tables of `tables`, key by key, so that every mistake is seen."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from functools import partial
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from .findings import Findings, did_you_mean
from .positions import Path
from .tables import ConsentTable, File, GatingTable, RecordsTable, SiteTable, Table

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
_T = TypeVar("_T", bound=Table)


def convert(raw: dict[str, Any], findings: Findings) -> File:
    """The file as tables; what is mistaken is left at its default and noted."""
    file: File = _FILE(raw, (), findings)
    return file


def _converter(kind: Any) -> Convert:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        checks = [mark.problem for mark in kind.__metadata__ if hasattr(mark, "problem")]
        inner = _converter(args[0])
        return partial(_checked, inner, checks) if checks else inner
    if origin in {Union, UnionType}:
        members = [member for member in args if member is not type(None)]
        return partial(_any_of, {_plain(member): _converter(member) for member in members})
    if origin is list:
        return partial(_array, _converter(args[0]), _neutral(args[0]))
    if origin is dict:
        return partial(_keyed, _converter(args[0]), _converter(args[1]), _neutral(args[1]))
    if origin is Literal:
        return partial(_one_of, args)
    return _table_converter(kind) if issubclass(kind, Table) else partial(_scalar, kind)


def _plain(kind: Any) -> type:
    """The Python type of a value of this kind."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _plain(get_args(kind)[0])
    if origin is Literal:
        return str
    return origin or (dict if issubclass(kind, Table) else kind)


def _neutral(kind: Any) -> Any:
    """What stands for a mistaken entry, so that the others keep their places."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return kind(**dict.fromkeys(_required(kind), ""))
    return ""


def _required(table: type[Table]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(table) if field.required]


def _checked(
    inner: Convert, checks: Sequence[Callable[[Any], Any]], raw: Any, path: Path, findings: Findings
) -> Any:
    value = inner(raw, path, findings)
    if value is BAD:
        return BAD
    problems = [problem for check in checks if (problem := check(value))]
    for problem in problems:
        findings.mistake(path, *problem)
    return BAD if problems else value


def _any_of(members: dict[type, Convert], raw: Any, path: Path, findings: Findings) -> Any:
    member = members.get(type(raw))
    if member is None:
        return _mismatch(list(members), raw, path, findings)
    return member(raw, path, findings)


def _scalar(kind: type, raw: Any, path: Path, findings: Findings) -> Any:
    try:
        return msgspec.convert(raw, kind, builtin_types=_DATES)
    except msgspec.ValidationError:
        return _mismatch([kind], raw, path, findings)


def _one_of(words: tuple[str, ...], raw: Any, path: Path, findings: Findings) -> Any:
    if not isinstance(raw, str):
        return _mismatch([str], raw, path, findings)
    if raw in words:
        return raw
    findings.mistake(path, f"{raw!r} is not one of {', '.join(map(repr, words))}", _nearest(raw, words))
    return BAD


def _nearest(word: str, words: Sequence[str]) -> str:
    hint = did_you_mean(word, words)
    return hint if hint.startswith("did") else ""


def _mismatch(kinds: list[type], raw: Any, path: Path, findings: Findings) -> Any:
    expected = " or ".join(_KINDS[kind] for kind in kinds)
    got = "a boolean" if isinstance(raw, bool) else _KINDS[type(raw)]
    findings.mistake(path, f"expected {expected}, got {got}", _remedy(kinds, raw))
    return BAD


def _remedy(kinds: list[type], raw: Any) -> str:
    if isinstance(raw, str):
        if list in kinds:
            return "write it in square brackets"
        return "leave out the quotes" if kinds[0] in {int, bool, date} else ""
    return "put it in quotes" if str in kinds and not isinstance(raw, list | dict) else ""


def _array(entry: Convert, neutral: Any, raw: Any, path: Path, findings: Findings) -> Any:
    if not isinstance(raw, list):
        return _mismatch([list], raw, path, findings)
    values = (entry(item, (*path, number), findings) for number, item in enumerate(raw))
    return [neutral if value is BAD else value for value in values]


def _keyed(key: Convert, entry: Convert, neutral: Any, raw: Any, path: Path, findings: Findings) -> Any:
    if not isinstance(raw, dict):
        return _mismatch([dict], raw, path, findings)
    values = {}
    for name, item in raw.items():
        key(name, (*path, name), findings)
        value = entry(item, (*path, name), findings)
        values[name] = neutral if value is BAD else value
    return values


def _table_converter(table: type[_T]) -> Convert:
    hints = get_type_hints(table, include_extras=True)
    # `Struct` has class variables of its own among its hints.
    fields = {field.name: _converter(hints[field.name]) for field in msgspec.structs.fields(table)}
    return partial(_table, table, fields, _required(table))


def _table(
    table: type[_T], fields: dict[str, Convert], required: list[str], raw: Any, path: Path, findings: Findings
) -> Any:
    if not isinstance(raw, dict):
        return _mismatch([dict], raw, path, findings)
    values: dict[str, Any] = dict.fromkeys(required, "")
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
    return table(**values)


def _likely_key(key: str, keys: list[str]) -> str:
    hint = _nearest(key, keys)
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
