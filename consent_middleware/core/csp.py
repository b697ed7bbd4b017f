"""Content Security Policy (CSP Level 3): hosts, an app's policy narrowed, and a policy of our own."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_HOST = r"(?P<below>\*\.)?(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?P<port>[0-9]{1,5}|\*))?"
_HOST_ONLY = re.compile(_HOST, re.ASCII | re.IGNORECASE)
_HOST_SOURCE = re.compile(rf"(?:[a-z][a-z0-9+.-]*://)?{_HOST}(?:/.*)?", re.ASCII | re.IGNORECASE)
_LONGEST_NAME = 253
"""Octets of a host name (RFC 1035, section 2.3.4): there is no longer one, however many labels it has."""
_TOKEN = re.compile(r"[\t\n\f\r ]*+([^\t\n\f\r ]++)")

FETCH_DIRECTIVES = frozenset(
    {
        "child-src",
        "connect-src",
        "default-src",
        "fenced-frame-src",
        "font-src",
        "frame-src",
        "img-src",
        "manifest-src",
        "media-src",
        "object-src",
        "prefetch-src",
        "script-src",
        "script-src-attr",
        "script-src-elem",
        "style-src",
        "style-src-attr",
        "style-src-elem",
        "worker-src",
    }
)
"""The directives that say where a page may load from (CSP Level 3, section 6.1)."""

_SOURCE_LISTS = FETCH_DIRECTIVES | {"base-uri", "form-action", "frame-ancestors", "navigate-to"}


class HostPattern(NamedTuple):
    """A host, or with `below` every host below one; `port` is empty for the default port of the scheme."""

    name: str
    port: str = ""
    below: bool = False

    @classmethod
    def parse(cls, text: str) -> "HostPattern | None":
        """Read `example.com`, `*.example.com`, either with `:port` or `:*`; None if it is anything else."""
        return cls._of(_HOST_ONLY.fullmatch(text))

    @classmethod
    def of_source(cls, expression: str) -> "HostPattern | None":
        """The hosts of a source expression, whatever its scheme and path; None if it names none or all."""
        return cls._of(_HOST_SOURCE.fullmatch(expression))

    @classmethod
    def _of(cls, match: re.Match[str] | None) -> "HostPattern | None":
        if match is None:
            return None
        if len(match["name"]) > _LONGEST_NAME:
            return None
        port = match["port"] or ""
        port = "" if port in ("80", "443") else port
        return cls(match["name"].lower(), port, match["below"] is not None)

    def __str__(self) -> str:
        return f"{'*.' if self.below else ''}{self.name}{':' if self.port else ''}{self.port}"


def _above(name: str) -> Iterator[str]:
    while name := name.partition(".")[2]:
        yield name


class Hosts:
    """A set of hosts by patterns; each question costs a look-up per label of the host that is asked for."""

    __slots__ = ("_above", "_below", "_exact")

    def __init__(self, patterns: Iterable[HostPattern]) -> None:
        patterns = tuple(patterns)
        self._exact = frozenset((p.name, p.port) for p in patterns if not p.below)
        self._below = frozenset((p.name, p.port) for p in patterns if p.below)
        self._above = self._below | {(name, p.port) for p in patterns for name in _above(p.name)}

    def cover(self, asked: HostPattern) -> bool:
        """Whether every host of `asked` is in one of the patterns."""
        if (asked.name, asked.port) in (self._below if asked.below else self._exact):
            return True
        return any((name, asked.port) in self._below for name in _above(asked.name))

    def within(self, asked: HostPattern) -> bool:
        """Whether one of the patterns is `asked` itself or a part of it."""
        return (asked.name, asked.port) in (self._above if asked.below else self._exact)

    def meet(self, asked: HostPattern) -> bool:
        """Whether there is a host in both."""
        return self.cover(asked) or self.within(asked)


def load_policy(hosts: Iterable[HostPattern]) -> str:
    """A policy that lets a page load from itself and from these hosts only, and restricts nothing else.

    One `default-src`: every fetch directive falls back to it, and without it prefetching would be open
    (CSP Level 3, section 6.1.3). Beside an app's own policy it can only tighten, as each policy of a response
    is enforced on its own (section 8.1); so inline code, `eval` and local schemes are left to the app's.
    A nonce, a hash or `'strict-dynamic'` would switch `'unsafe-inline'` off.

    Each host is named twice, which is as short as it gets. Without a scheme it takes in https (and http on a
    page of http) but no WebSocket, by section 6.7.2.8 and in Chromium, Firefox and WebKit; `'self'` does
    both. `ws:` takes in https by that section, but not in Chromium and Firefox. In a `connect-src`, which
    replaces `default-src`, the forms for WebSockets would need each host a third time.
    """
    sources = " ".join(["'self'", *(f"{host} ws://{host}" for host in hosts)])
    return f"default-src {sources} 'unsafe-inline' 'unsafe-eval' data: blob: filesystem:"


def narrowed(policies: str, unwanted: Callable[[HostPattern], bool], opens: Callable[[str], bool]) -> str:
    """A field value without the sources of unwanted hosts and without report addresses that are not open.

    A directive that loses its last source gets `'none'`: left empty it would mean the same, left out it
    would fall back to `default-src`. All else stays octet by octet.

    Args:
        policies: the value of a policy field, one policy or several separated by commas.
        unwanted: whether the hosts of a source expression are to be taken out.
        opens: whether a `report-uri` address may be reached.
    """

    def keeps_source(token: str) -> bool:
        pattern = HostPattern.of_source(token)
        return pattern is None or not unwanted(pattern)

    def directive(text: str) -> str:
        start = _TOKEN.match(text)
        name = start[1].lower() if start else ""
        if start and name in _SOURCE_LISTS:
            return _without(text, start.end(), keeps_source, text[: start.end()] + " 'none'")
        return _without(text, start.end(), opens, "") if start and name == "report-uri" else text

    return ",".join(";".join(map(directive, policy.split(";"))) for policy in policies.split(","))


def _without(text: str, start: int, keeps: Callable[[str], bool], emptied: str) -> str:
    """The directive without the tokens from `start` on that are not to be kept."""
    tokens = list(_TOKEN.finditer(text, start, len(text.rstrip("\t\n\f\r "))))
    kept = [token for token in tokens if keeps(token[1])]
    if len(kept) == len(tokens):
        return text
    shorter = text[:start] + "".join(token[0] for token in kept) if kept else emptied
    return shorter + text[tokens[-1].end() :]
