"""How the values of a registry file are written: a form for each type that `core.registry` declares.

A form reads what `tomllib` yields, key by key, so that every mistake is seen, and describes itself in JSON
Schema for editors.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from enum import EnumType
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields

from consent_middleware.core.periods import Period
from consent_middleware.core.registry import Key, LocalizedText, Spelling

from .findings import Findings, nearest
from .positions import Path
from .registry import Registry
from .syntax import SPELLINGS

BAD: Any = object()
"""Stands for a mistaken value; the mistake has been noted."""

Schema = dict[str, Any]

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


class Form(Protocol):
    """How the values of one type are written."""

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        """Make the value of what the file holds, or note what is wrong and return BAD."""

    def schema(self) -> Schema:
        """The JSON Schema of what the file may hold."""


def form_of(kind: Any) -> Form:
    """The form of a type that `core.registry` uses."""
    kind, marks = _unwrapped(kind)
    if kind is LocalizedText:
        return _Text(marks.get(Spelling))
    if Spelling in marks:
        return _Spelled(marks[Spelling])
    if isinstance(kind, type) and issubclass(kind, Struct):
        return Table(kind)
    return _form_of_plain(kind, marks)


def _form_of_plain(kind: Any, marks: dict[type, Any]) -> Form:
    origin, args, bound = get_origin(kind), get_args(kind), marks.get(Meta)
    if origin is tuple:
        one_alone = Key in marks and marks[Key].singular != ""
        return _Array(args[0], one_alone=one_alone, never_empty=bound is not None)
    if origin is Mapping:
        return _Keyed(Spelling.ID, form_of(args[1]))
    if origin is Literal:
        return _Words(args)
    return _Words(tuple(kind), kind) if isinstance(kind, EnumType) else _Scalar(kind, bound)


def _unwrapped(kind: Any) -> tuple[Any, dict[type, Any]]:
    """A type without its marks, and these. TOML has no null: a key whose value may be None is left out."""
    marks: dict[type, Any] = {}
    while True:
        args = [arg for arg in get_args(kind) if arg is not NoneType]
        if get_origin(kind) is Annotated:
            marks |= {type(mark): mark for mark in args[1:]}
        elif get_origin(kind) not in {Union, UnionType} or len(args) > 1:
            return kind, marks
        kind = args[0]


class _Scalar:
    """A number, a truth value, a date, or any string."""

    def __init__(self, kind: type, bound: Meta | None = None) -> None:
        self._kind = kind
        self._least = bound.ge if bound else None
        self._written = Annotated[kind, bound] if bound else kind

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        try:
            return msgspec.convert(raw, self._written, builtin_types=_DATES)
        except msgspec.ValidationError:
            if type(raw) is not self._kind:
                return _mismatch((self._kind,), raw, path, findings)
            return _bad(findings, path, f"must be {self._least} or more, not {raw}")

    def schema(self) -> Schema:
        return msgspec.json.schema(self._written)


class _Words:
    """One of a few words."""

    def __init__(self, words: tuple[str, ...], make: Callable[[str], Any] = str) -> None:
        self._words, self._make = tuple(map(str, words)), make

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) is not str:
            return _mismatch((str,), raw, path, findings)
        if raw in self._words:
            return self._make(raw)
        message = f"{raw!r} is not one of {', '.join(map(repr, self._words))}"
        return _bad(findings, path, message, nearest(raw, self._words))

    def schema(self) -> Schema:
        return {"enum": list(self._words)}


class _Spelled:
    """A string that is written in a certain way."""

    def __init__(self, spelling: Spelling) -> None:
        self.pattern, self._check, self._make = SPELLINGS[spelling]

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) is not str:
            return _mismatch((str,), raw, path, findings)
        problem = self._check(raw)
        return _bad(findings, path, *problem) if problem else self._make(raw)

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^({self.pattern})$"}


class _Array:
    """Several values of one kind. A mistaken one counts as empty, so that the others keep their numbers."""

    def __init__(self, kind: Any, *, one_alone: bool, never_empty: bool) -> None:
        self._entry, (plain, marks) = form_of(kind), _unwrapped(kind)
        self._empty = LocalizedText() if plain is LocalizedText else ""
        self._kinds = (str, list) if one_alone else (list,)
        self._needed = marks[Spelling].value if never_empty else ""

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) not in self._kinds:
            return _mismatch(self._kinds, raw, path, findings)
        if type(raw) is str:
            value = self._entry.read(raw, path, findings)
            return value if value is BAD else (value,)
        if self._needed and not raw:
            return _bad(findings, path, f"needs at least one {self._needed}")
        values = (self._entry.read(item, (*path, number), findings) for number, item in enumerate(raw))
        return tuple(self._empty if value is BAD else value for value in values)

    def schema(self) -> Schema:
        entry = self._entry.schema()
        several = {"type": "array", "items": entry} | ({"minItems": 1} if self._needed else {})
        return {"anyOf": [entry, several]} if str in self._kinds else several


class _Keyed:
    """A table whose keys the site makes up: ids, or languages."""

    def __init__(self, key: Spelling, entry: Form) -> None:
        self._key, self._entry = _Spelled(key), entry

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) is not dict:
            return _mismatch((dict,), raw, path, findings)
        values = {}
        for name, item in raw.items():
            self._key.read(name, (*path, name), findings)
            value = self._entry.read(item, (*path, name), findings)
            values[name] = "" if value is BAD else value
        return values

    def schema(self) -> Schema:
        names = {"pattern": f"^({self._key.pattern})$"}
        return {"type": "object", "propertyNames": names, "additionalProperties": self._entry.schema()}


class _Text:
    """A text for visitors: a string, or a table from language to string."""

    def __init__(self, spelling: Spelling | None) -> None:
        self._wording: Form = _Spelled(spelling) if spelling else _Scalar(str)
        self._wordings = _Keyed(Spelling.LANGUAGE, self._wording)

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) not in {str, dict}:
            return _mismatch((str, dict), raw, path, findings)
        if raw == {}:
            return _bad(findings, path, "needs at least one language")
        value = (self._wordings if type(raw) is dict else self._wording).read(raw, path, findings)
        return value if value is BAD else LocalizedText.of(value) if value else LocalizedText()

    def schema(self) -> Schema:
        return {"anyOf": [self._wording.schema(), {**self._wordings.schema(), "minProperties": 1}]}


class Table:
    """A table with the keys that a class of `core.registry` declares."""

    def __init__(self, table: type[Struct]) -> None:
        self._table = table
        self.keys: dict[str, _TableKey] = {}
        for field in fields(table):
            _, marks = _unwrapped(field.type)
            if Key in marks:
                name = marks[Key].singular or field.name
                self.keys[name] = _TableKey(field, marks[Key], form_of(field.type))
        self._required = [name for name, key in self.keys.items() if key.field.required]
        # The id of a purpose or vendor is the name of its table.
        self._named = "id" in table.__struct_fields__ and "id" not in self.keys

    def read(self, raw: Any, path: Path, findings: Findings) -> Any:
        """What the table says; what is mistaken stays at its default, what is missing is an empty text."""
        values: dict[str, Any] = {self.keys[name].field.name: "" for name in self._required}
        values |= {"id": path[-1]} if self._named else {}
        if type(raw) is not dict:
            _mismatch((dict,), raw, path, findings)
            return self._table(**values)
        for name, item in raw.items():
            if name not in self.keys:
                findings.mistake((*path, name), "unknown key", _likely_key(name, list(self.keys)))
                continue
            key = self.keys[name]
            value = key.form.read(item, (*path, name), findings)
            if value is not BAD:
                values[key.field.name] = value
        for name in self._required:
            if name not in raw:
                findings.mistake((*path, name), "is missing")
        return self._table(**values)

    def schema(self) -> Schema:
        """The JSON Schema of the table, with the defaults of its keys."""
        return {
            "description": (self._table.__doc__ or "").partition("\n")[0],
            "type": "object",
            "properties": {name: key.schema() for name, key in self.keys.items()},
            "required": self._required,
            "additionalProperties": False,
        }


class _TableKey(NamedTuple):
    field: FieldInfo
    key: Key
    form: Form

    def schema(self) -> Schema:
        said = {"description": self.key.description} if self.key.description else {}
        default = _as_written(self.field.default)
        given = {} if default in (None, NODEFAULT) or isinstance(self.form, Table) else {"default": default}
        return {**said, **self.form.schema(), **given}


def _as_written(value: Any) -> Any:
    match value:
        case Period():
            return value.text
        case LocalizedText():
            return value.pick()
        case tuple():
            return list(map(_as_written, value))
    return value


def _bad(findings: Findings, path: Path, message: str, hint: str = "") -> Any:
    findings.mistake(path, message, hint)
    return BAD


def _mismatch(kinds: tuple[type, ...], raw: Any, path: Path, findings: Findings) -> Any:
    expected = " or ".join(_KINDS[kind] for kind in kinds)
    got = "a boolean" if isinstance(raw, bool) else _KINDS[type(raw)]
    return _bad(findings, path, f"expected {expected}, got {got}", _remedy(kinds, raw))


def _remedy(kinds: tuple[type, ...], raw: Any) -> str:
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
    homes = (home for home, known in _homes() if key in known)
    return hint or next((f"it belongs in {home}" for home in homes), f"known: {', '.join(keys)}")


def _homes() -> Iterator[tuple[str, Mapping[str, _TableKey]]]:
    """Where keys belong: a key below the wrong header is the mistake that TOML invites most."""
    yield "the top of the file, before the first [table]", FILE.keys
    yield from (
        (f"[{name}]", key.form.keys) for name, key in FILE.keys.items() if isinstance(key.form, Table)
    )


FILE = Table(Registry)
