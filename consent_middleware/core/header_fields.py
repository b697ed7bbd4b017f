"""Header fields of a response: what each is by its name, and what an app gives made exact.

WSGI has fields as text, a latin-1 view of octets (PEP 3333), ASGI as octets.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any

Header = tuple[str, str]
Field = tuple[Any, Any]
"""Name and value, both text or both octets."""

_UNSAFE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
BREAKS: tuple[tuple[Any, ...], ...] = (("\n", "\r", "\0"), (10, 13, 0))
"""LF, CR and NUL of texts and of octets: behind them some servers and browsers begin another field."""
_BREAK = re.compile("[\r\n\0]")


class FieldKind(Enum):
    """What a header field is, by its name."""

    PLAIN = "no field that concerns us"
    GOVERNED = "it sets cookies"
    PADDED = "it is an attempt at a governed field, which some servers trim and others send"
    CACHING = "it says what caches may do"
    TYPE = "it says what the body is"
    GATED = "it can make a browser contact third parties, or tell them of the device"
    NONE = "its name is no token, so it is no field"


def without_breaks(value: str) -> str:
    """A value with blanks for CR, LF and NUL (RFC 9110, section 5.5)."""
    return _BREAK.sub(" ", value)


def is_field_text(text: str) -> bool:
    """Whether a text can stand in a header field: octets, no controls but HTAB (RFC 9110, section 5.5)."""
    # Nearly every one is printable ASCII, which the built-in check sees at a tenth of the cost.
    return (text.isascii() and text.isprintable()) or _UNSAFE.search(text) is None


def as_pairs(headers: Iterable[Any] | None) -> list[tuple[Any, ...]]:
    """The fields as an app gives them, once and for all: some are iterators, which one look would eat.

    What is no sequence at all becomes one that is no pair.
    """
    return [tuple(field) if hasattr(field, "__iter__") else () for field in headers or ()]


def as_texts(fields: Iterable[tuple[Any, ...]]) -> list[Header]:
    """The fields of `as_pairs` as exact text, so that what is judged is what leaves; what is no pair goes."""
    return [(as_text(field[0]), as_text(field[1])) for field in fields if len(field) == 2]


def as_text(value: object) -> str:
    """The octets of a field as text, of whatever type they come: a wrong type lets no cookie slip by."""
    if isinstance(value, str):
        return str.__str__(value)
    return str(value, "latin-1") if isinstance(value, bytes | bytearray | memoryview) else str(value)
