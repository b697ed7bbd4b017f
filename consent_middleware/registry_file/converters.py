"""From TOML values to the types of `core.registry`: one converter for each type that is used there.

A converter is given what `tomllib` yields and converts it key by key, so that all mistakes are found at once.
It also has the JSON Schema of what it accepts, for editors.
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
from consent_middleware.core.registry import Format, Key, LocalizedText

from .findings import Findings, nearest
from .positions import Path
from .registry import Registry
from .syntax import FORMATS

BAD: Any = object()
"""Returned in place of a value with a mistake, which has been added to the findings."""

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


class Converter(Protocol):
    """Converts the values of one type, and describes them."""

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        """The value of `raw`, which is at `path`; BAD after a mistake was added to `findings`."""

    def schema(self) -> Schema:
        """The JSON Schema of the values that are accepted."""


def converter_for(kind: Any) -> Converter:
    """The converter for a type annotation of `core.registry`."""
    kind, marks = _unwrapped(kind)
    if kind is LocalizedText:
        return _LocalizedText(marks.get(Format))
    if Format in marks:
        return _FormattedString(marks[Format])
    if isinstance(kind, type) and issubclass(kind, Struct):
        return Table(kind)
    return _converter_for_plain(kind, marks)


def _converter_for_plain(kind: Any, marks: dict[type, Any]) -> Converter:
    origin, args, bound = get_origin(kind), get_args(kind), marks.get(Meta)
    if origin is tuple:
        one_alone = Key in marks and marks[Key].singular != ""
        return _Array(args[0], one_alone=one_alone, never_empty=bound is not None)
    if origin is Mapping:
        return _Mapping(Format.ID, converter_for(args[1]))
    if origin is Literal:
        return _OneOf(args)
    return _OneOf(tuple(kind), kind) if isinstance(kind, EnumType) else _Scalar(kind, bound)


def _unwrapped(kind: Any) -> tuple[Any, dict[type, Any]]:
    """A type without `Annotated` and `| None`, and the annotations by their type.

    TOML has no null: a key whose value may be None is left out.
    """
    marks: dict[type, Any] = {}
    while True:
        args = [arg for arg in get_args(kind) if arg is not NoneType]
        if get_origin(kind) is Annotated:
            marks |= {type(mark): mark for mark in args[1:]}
        elif get_origin(kind) not in {Union, UnionType} or len(args) > 1:
            return kind, marks
        kind = args[0]


class _Scalar:
    """An integer, a boolean, a date, or a string of any form."""

    def __init__(self, kind: type, bound: Meta | None = None) -> None:
        self._kind = kind
        self._minimum = bound.ge if bound else None
        self._bounded = Annotated[kind, bound] if bound else kind

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        try:
            return msgspec.convert(raw, self._bounded, builtin_types=_DATES)
        except msgspec.ValidationError:
            if type(raw) is not self._kind:
                return _mismatch((self._kind,), raw, path, findings)
            return _bad(findings, path, f"must be {self._minimum} or more, not {raw}")

    def schema(self) -> Schema:
        return msgspec.json.schema(self._bounded)


class _OneOf:
    """A string out of a fixed set: a `Literal` or an enum of strings."""

    def __init__(self, words: tuple[str, ...], make: Callable[[str], Any] = str) -> None:
        self._words, self._make = tuple(map(str, words)), make

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) is not str:
            return _mismatch((str,), raw, path, findings)
        if raw in self._words:
            return self._make(raw)
        message = f"{raw!r} is not one of {', '.join(map(repr, self._words))}"
        return _bad(findings, path, message, nearest(raw, self._words))

    def schema(self) -> Schema:
        return {"enum": list(self._words)}


class _FormattedString:
    """A string of one of the formats in `syntax`."""

    def __init__(self, format: Format) -> None:
        self.pattern, self._check, self._make = FORMATS[format]

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) is not str:
            return _mismatch((str,), raw, path, findings)
        problem = self._check(raw)
        return _bad(findings, path, *problem) if problem else self._make(raw)

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^({self.pattern})$"}


class _Array:
    """A tuple of values of one type. A mistaken entry becomes empty, so that the others keep their index.

    With `one_alone` a string stands for an array with this one entry.
    """

    def __init__(self, kind: Any, *, one_alone: bool, never_empty: bool) -> None:
        self._entry, (plain, marks) = converter_for(kind), _unwrapped(kind)
        self._empty = LocalizedText() if plain is LocalizedText else ""
        self._kinds = (str, list) if one_alone else (list,)
        self._needed = marks[Format].value if never_empty else ""

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) not in self._kinds:
            return _mismatch(self._kinds, raw, path, findings)
        if type(raw) is str:
            value = self._entry.convert(raw, path, findings)
            return value if value is BAD else (value,)
        if self._needed and not raw:
            return _bad(findings, path, f"needs at least one {self._needed}")
        values = (self._entry.convert(item, (*path, number), findings) for number, item in enumerate(raw))
        return tuple(self._empty if value is BAD else value for value in values)

    def schema(self) -> Schema:
        entry = self._entry.schema()
        several = {"type": "array", "items": entry} | ({"minItems": 1} if self._needed else {})
        return {"anyOf": [entry, several]} if str in self._kinds else several


class _Mapping:
    """A table whose keys are ids or languages."""

    def __init__(self, key: Format, entry: Converter) -> None:
        self._key, self._entry = _FormattedString(key), entry

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) is not dict:
            return _mismatch((dict,), raw, path, findings)
        values = {}
        for name, item in raw.items():
            self._key.convert(name, (*path, name), findings)
            value = self._entry.convert(item, (*path, name), findings)
            values[name] = "" if value is BAD else value
        return values

    def schema(self) -> Schema:
        names = {"pattern": f"^({self._key.pattern})$"}
        return {"type": "object", "propertyNames": names, "additionalProperties": self._entry.schema()}


class _LocalizedText:
    """A text for visitors: a string, or a table from language to string."""

    def __init__(self, format: Format | None) -> None:
        self._wording: Converter = _FormattedString(format) if format else _Scalar(str)
        self._wordings = _Mapping(Format.LANGUAGE, self._wording)

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        if type(raw) not in {str, dict}:
            return _mismatch((str, dict), raw, path, findings)
        if raw == {}:
            return _bad(findings, path, "needs at least one language")
        value = (self._wordings if type(raw) is dict else self._wording).convert(raw, path, findings)
        return value if value is BAD else LocalizedText.of(value) if value else LocalizedText()

    def schema(self) -> Schema:
        return {"anyOf": [self._wording.schema(), {**self._wordings.schema(), "minProperties": 1}]}


class Table:
    """A table whose keys are the fields of a class in `core.registry` that have a `Key`."""

    def __init__(self, table: type[Struct]) -> None:
        self._table = table
        self.keys: dict[str, _TableKey] = {}
        for field in fields(table):
            _, marks = _unwrapped(field.type)
            if Key in marks:
                name = marks[Key].singular or field.name
                self.keys[name] = _TableKey(field, marks[Key], converter_for(field.type))
        self._required = [name for name, key in self.keys.items() if key.field.required]
        # The id of a purpose or vendor is the name of its table.
        self._named = "id" in table.__struct_fields__ and "id" not in self.keys

    def convert(self, raw: Any, path: Path, findings: Findings) -> Any:
        """An instance of the class, with defaults for mistaken values, and "" for missing required ones.

        Never BAD: the other keys are checked all the same.
        """
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
            value = key.converter.convert(item, (*path, name), findings)
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
    converter: Converter

    def schema(self) -> Schema:
        description = {"description": self.key.description} if self.key.description else {}
        default = _as_written(self.field.default)
        has_default = default not in (None, NODEFAULT) and not isinstance(self.converter, Table)
        return {**description, **self.converter.schema(), **({"default": default} if has_default else {})}


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
    """Headers and their keys. A key below the wrong header is the most frequent mistake in TOML files."""
    yield "the top of the file, before the first [table]", FILE.keys
    for name, key in FILE.keys.items():
        if isinstance(key.converter, Table):
            yield f"[{name}]", key.converter.keys


FILE = Table(Registry)
