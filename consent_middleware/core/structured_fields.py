"""Header fields: what can stand in one at all (RFC 9110, section 5), and reading of those that are lists.

These are Link (RFC 8288), Forwarded (RFC 7239) and structured fields (RFC 9651). What is kept of a field is
kept as it was written, so their readers return slices of the text.
"""

import re
from collections.abc import Callable
from functools import cache

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - of syntax, not of access
"""A token (RFC 9110, section 5.6.2), which every name of a field is."""
_TOKEN = re.compile(TOKEN)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def is_token(text: str) -> bool:
    """Whether a text can be the name of a field."""
    return _TOKEN.fullmatch(text) is not None


def token_start(text: str) -> str:
    """As much of a text as is a token."""
    match = _TOKEN.match(text)
    return match[0] if match else ""


def before_control(text: str) -> str:
    """A text up to its first control character but HTAB: a status line holds none (RFC 9112, section 4)."""
    return text if text.isprintable() else _CONTROL.split(text, maxsplit=1)[0]


_FORWARDED_PAIR = re.compile(rf'(?:\A|[;,])[ \t]*+({TOKEN})=({TOKEN}|"(?:[^"\\]|\\.)*+")')


def forwarded_proto(value: str) -> str:
    """By which scheme the visitor came, in lower case, as the first proxy that tells has it; "" if none does.

    That is the value of a `Forwarded` field (RFC 7239, section 5.4).
    """
    pairs = ((name.lower(), text) for name, text in _FORWARDED_PAIR.findall(value))
    return next((_unquoted(text).lower() for name, text in pairs if name == "proto"), "")


_MEMBER = r'(?:[^,"<]++|"(?:[^"\\]|\\.)*+"|<[^<>]*+>)*+'
_LIST = re.compile(rf"{_MEMBER}(?:,{_MEMBER})*+", re.DOTALL)
_NEXT_MEMBER = re.compile(rf"(?:\A|,)({_MEMBER})", re.DOTALL)


def members(value: str) -> list[str] | None:
    """The parts of a list between commas outside quotes and angle brackets; None if one is not closed."""
    return _NEXT_MEMBER.findall(value) if _LIST.fullmatch(value) else None


def without_members(value: str, keeps: Callable[[str], bool]) -> str | None:
    """A list with the members that are to be kept; None if none remain or it cannot be read."""
    parts = members(value)
    if parts is None:
        return None
    kept = [part for part in parts if keeps(part)]
    return value if len(kept) == len(parts) else ",".join(kept).strip(" \t") or None


_LINK = re.compile(r"<([^<>]*)>(.*)", re.DOTALL)
_BRACKETED = re.compile(r"<([^<>]*)>")
_LINK_PARAMETER = re.compile(r';\s*([^\s=;]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^;]*))?')
LOADING_RELATIONS = frozenset(
    {
        "compression-dictionary",
        "dns-prefetch",
        "modulepreload",
        "preconnect",
        "prefetch",
        "preload",
        "prerender",
        "stylesheet",
    }
)
"""Relation types whose target a browser contacts unasked (HTML, section 4.6.8)."""


def loaded_by_link(member: str) -> list[str]:
    """The addresses that a browser may contact on account of one member of a Link field.

    Everything in angle brackets counts, for readers differ on where a quoted text ends.
    """
    link = _LINK.search(member)
    if link is None:
        return []
    if LOADING_RELATIONS.isdisjoint(_values_of("rel", link[2]).lower().split()):
        return []
    return [*_BRACKETED.findall(member), *re.findall(r"[^\s,]+", _values_of("imagesrcset", link[2]))]


def _values_of(name: str, parameters: str) -> str:
    """The values of all parameters of one name, which are lists, as one list between blanks."""
    found = _LINK_PARAMETER.finditer(parameters)
    return " ".join(_unquoted(one[2] or "") for one in found if one[1].lower() == name)


def _unquoted(text: str) -> str:
    text = text.strip()
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


_BARE = (
    r'(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'
    r"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*+"
    r"|-?[0-9]{1,12}\.[0-9]{1,3}|@?-?[0-9]{1,15}|\?[01]|:[A-Za-z0-9+/=]*+:"
    r'|%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*+")'
)
_KEY = r"[a-z*][a-z0-9_.*-]*+"
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE})?)*+"
_ITEM = _BARE + _PARAMETERS
_INNER_LIST = rf"\( *+(?:{_ITEM}(?: ++{_ITEM})*+ *+)?\){_PARAMETERS}"
_STRING = r'"((?:[^"\\]|\\.)*+)"'
_ANY_STRING = re.compile(_STRING)
_STRING_ITEM = re.compile(rf"[ \t]*{_STRING}")
_DICTIONARY_MEMBER = rf"[ \t]*{_KEY}(?:=(?:{_ITEM}|{_INNER_LIST})|{_PARAMETERS})[ \t]*"
_DICTIONARY = rf"{_DICTIONARY_MEMBER}(?:,{_DICTIONARY_MEMBER})*+"
_NEXT_PAIR = rf"(?:\A|,)[ \t]*(({_KEY})(?:=(?:{_ITEM}|{_INNER_LIST})|{_PARAMETERS}))"


@cache
def _dictionary_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Of a whole dictionary, and of its next pair. They take 10 ms to compile, and few sites need them."""
    return re.compile(_DICTIONARY), re.compile(_NEXT_PAIR)


def dictionary(value: str) -> list[tuple[str, str]] | None:
    """The members of a structured dictionary as pairs of key and text; None if browsers discard the field.

    All members, also those that a later one of the same key replaces (RFC 9651, section 4.2.2).
    """
    if not value.strip(" "):
        return []
    whole, next_pair = _dictionary_patterns()
    if not whole.fullmatch(value):
        return None
    return [(key, text) for text, key in next_pair.findall(value)]


def string_item(text: str) -> str | None:
    """The string at the start of a member's text, None if there is none."""
    match = _STRING_ITEM.match(text)
    return match and re.sub(r"\\(.)", r"\1", match[1])


def strings(text: str) -> list[str]:
    """All strings in the text of a member: its value, those of an inner list, and those of parameters."""
    return [_unquoted(found[0]) for found in _ANY_STRING.finditer(text)]
