"""What leaves when an answer could not be judged: what a visitor who allows nothing may have, and no error.

Everything that is added is worked out at start, and what is done to a field are operations of `str` and of
compiled patterns, whatever the field holds: here nothing is left that could fail.
"""

import re
from collections.abc import Callable, Iterable

import msgspec

from .cache_control import targets_caches
from .header_fields import Header, is_field_text
from .structured_fields import is_token

_NO_STORE = re.compile("no-store", re.IGNORECASE)
# A directive ends at `;` and a policy at `,` (CSP Level 3, section 2.2).
_REPORT_URI = re.compile(r"(\A|[;,])[\t\n\f\r ]*+report-uri(?![^\t\n\f\r ;,])[^;,]*+", re.IGNORECASE)
_CACHING = frozenset({"cache-control", "expires"})
_PRIVATE = "private, no-cache, max-age=0"


class FailClosed(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an answer as they may leave unjudged; build it once at start."""

    governed: frozenset[str]
    """The fields, in lower case, that do not leave."""
    depends_on: tuple[str, ...]
    """The request fields that answers depend on, for `Vary`."""
    policy: str
    """The `Content-Security-Policy` of a visitor who allows nobody; empty where nothing is gated."""
    permissions: str
    """The `Permissions-Policy` of such a visitor, empty where it says nothing."""
    permitted: Callable[[list[str]], str]
    """The same together with what the app's own fields say; it may raise."""

    def headers(self, fields: Iterable[object]) -> list[Header]:
        """The fields of a response, with those that close it. What is no field at all is left out.

        Twice is the same as once.
        """
        safe = self.trailers(fields)
        added = [*self._for_caches(safe), *self._for_features(safe)]
        if self.policy:
            added.append(("Content-Security-Policy", self.policy))
        own = {(name.lower(), value) for name, value in added}
        kept = [line for line in safe if (line[0].lower(), line[1]) not in own and not self._replaces(line)]
        return [*kept, *added]

    def trailers(self, fields: Iterable[object]) -> list[Header]:
        """The fields that are not governed, with nothing added."""
        lines = [line for line in map(_line, fields) if line and line[0].lower() not in self.governed]
        return [self._without_reports(line) for line in lines]

    def _replaces(self, line: Header) -> bool:
        name = line[0].lower()
        if name == "permissions-policy":
            return bool(self.permissions)
        return name in _CACHING or targets_caches(name)

    def _without_reports(self, line: Header) -> Header:
        """An app's own policy goes on to protect its page, and tells nobody else of it."""
        if not self.policy or line[0].lower() != "content-security-policy":
            return line
        return line[0], _REPORT_URI.sub(r"\1", line[1])

    def _for_caches(self, lines: list[Header]) -> list[Header]:
        no_store = any(map(_NO_STORE.search, _values("cache-control", lines)))
        control = f"{_PRIVATE}, no-store" if no_store else _PRIVATE
        return [("Cache-Control", control), ("Vary", ", ".join(self.depends_on))]

    def _for_features(self, lines: list[Header]) -> list[Header]:
        """One line, for a mistake in another would undo ours (RFC 9651, section 4.2)."""
        if not self.permissions:
            return []
        try:
            text = self.permitted(_values("permissions-policy", lines))
        except Exception:  # noqa: BLE001 - it may be just what failed: then the app's own counts for nothing
            text = self.permissions
        return [("Permissions-Policy", text)]


def _line(field: object) -> Header | None:
    """A header field as plain text, None for what is none (RFC 9110, sections 5.5 and 5.6.2)."""
    if not isinstance(field, tuple | list) or len(field) != 2:
        return None
    name, value = field
    if not isinstance(name, str) or not isinstance(value, str):
        return None
    # A text of a class of its own could do anything when it is asked.
    name, value = str.__str__(name), str.__str__(value)
    return (name, value) if is_token(name) and is_field_text(value) else None


def _values(key: str, lines: list[Header]) -> list[str]:
    return [value for name, value in lines if name.lower() == key]
