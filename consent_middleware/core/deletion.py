"""Deleting cookies that are no longer allowed: which Set-Cookie lines, where a request tells only names.

A browser deletes a cookie only by a line that has its very name, domain (or none), path and partition
(RFC 6265bis, section 5.7; CHIPS), and the `Cookie` field says none of these (section 5.8.3). So lines go
to the places that are known, which are declared or learnt, and then to those that a cookie on this very
request can have. What that rests on:

- A host can delete for itself, and by `Domain` for itself and its parents down to the registrable one. A
  browser ignores a line for a public suffix, so no list of these is needed.
- A cookie is sent where its path is the request's, or a prefix that ends with or before a `/` (section
  5.1.4). Only "/", and these prefixes, can be its path.
- `SameSite` is no part of a cookie's identity: a line with `SameSite=Lax` deletes a `None` cookie too. But
  a browser ignores it where our answer is embedded in another site's page (section 5.7, step 18), and so
  it should: the consent cookie is not sent there, so nobody knows what the visitor chose. Only where the
  choice is made on this very request it has to be `None`, which browsers take everywhere.
- A partitioned cookie needs `Partitioned; Secure`; a `__Host-` or `__Secure-` name what its prefix demands.

A line never aims at a place where the same answer sets a cookie of that name.

Nothing is counted, for without the text that is one visitor's there is nobody to count for: known places are
told on every answer, guessed ones take turns by the minute, and the answer's budget bounds both. A stranger
chooses the path, the host and the names, so the first two are cut before anything is made of them, and no
line is written that the budget has no room for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from math import gcd
from typing import NamedTuple, TypeVar

from .registry import CookieRule
from .set_cookie import EPOCH, SetCookie, read_set_cookie

BUDGET = 3072
"""Octets of the deletions and our own cookie together on one answer: a proxy keeps 4 KiB for a header."""
_PAGE_BUDGET = 1536
_PAGE_LINES = 12
"""Where no choice is made, answers are ordinary pages, whose own fields need room as well."""
_SHORTEST = 80
"""Octets that no deletion goes below."""
_MOST_SCOPES = 60
_LONGEST_PATH = 255
_LONGEST_NAME = 512
_LONGEST_HOST = 253
"""Octets of a host name (RFC 1035, section 2.3.4)."""
_MOST_LABELS = 12

T = TypeVar("T")


class CookieScope(NamedTuple):
    """Where a browser keeps a cookie; the name aside, this is the cookie's identity."""

    domain: str
    """Without a leading dot; "" for the host alone."""
    path: str
    partitioned: bool = False


class RequestScope(NamedTuple):
    """What a request tells about where its cookies can be."""

    host: str
    """In lower case, without a port."""
    path: str
    """As the browser has it: percent-encoded, mount included."""
    secure: bool
    chosen: bool = False
    """Whether the visitor's choice is made on this very request."""
    minute: int = 0
    """Minutes since any fixed moment: whose turn it is."""


class UnwantedCookie(NamedTuple):
    """A cookie that has to go."""

    name: str
    named: bool
    """False for a nameless cookie, whose text stands in `name`."""
    rule: CookieRule | None = None
    came: bool = True
    """Whether it came with the request; if not, the known places are all there is to try."""


class Deletion(NamedTuple):
    """One deletion."""

    leftover: UnwantedCookie
    line: str


def declared_scopes(rule: CookieRule) -> tuple[CookieScope, ...]:
    """The places that a rule states; where it states a domain or a path alone, with the usual other half.

    A domain without a leading dot can mean the host alone or the host and all below: both are tried.
    """
    if not rule.domains and not rule.paths:
        return ()
    domains = [form for domain in rule.domains or ("",) for form in _forms(domain)]
    return tuple(
        CookieScope(domain, path, rule.partitioned) for path in rule.paths or ("/",) for domain in domains
    )


def _forms(domain: str) -> tuple[str, ...]:
    domain = domain.lower()
    if not domain or domain.startswith("."):
        return (domain.removeprefix("."),)
    return ("", domain)


def scope_of(cookie: SetCookie, request_path: str) -> CookieScope:
    """Where a browser puts a cookie that is set by an answer to a request for `request_path`."""
    attributes = cookie.attributes
    return CookieScope(
        attributes.domain, attributes.path or default_path(request_path), attributes.partitioned
    )


def default_path(path: str) -> str:
    """The path of a cookie that states none (RFC 6265bis, section 5.1.4)."""
    return path[: path.rfind("/")] or "/"


def covers(domain: str, host: str) -> bool:
    """Whether a cookie's domain is the host or above it: whether the host can set and delete it."""
    return not domain or host == domain or host.endswith(f".{domain}")


def _demand(name: str, around: RequestScope) -> Callable[[CookieScope], bool]:
    prefix = name.lower()
    if not around.secure:
        if prefix.startswith(("__host-", "__secure-", "__http-")):
            return lambda _: False
        return lambda place: not place.partitioned
    if prefix.startswith("__host-"):
        return lambda place: not place.domain and place.path == "/"
    return lambda _: True


def _guesses(around: RequestScope) -> tuple[list[CookieScope], list[CookieScope]]:
    """Where any cookie of a request can be: likely places, which are the whole site, and others.

    The others are directories, which scripts leave by default, then what ends with a slash.
    """
    domains = ["", *_parents(around.host)]
    root, *paths = _prefixes(around.path)
    others = chain(
        (CookieScope(domain, root, partitioned=True) for domain in domains),
        (CookieScope(domain, path) for path in paths for domain in domains),
        (CookieScope(domain, path, partitioned=True) for path in paths for domain in domains),
    )
    likely = [CookieScope(domain, root) for domain in domains]
    return likely, list(islice(others, _MOST_SCOPES - len(likely)))


def _parents(host: str) -> list[str]:
    """The host and its parents that can be a `Domain`, the shortest first; of many labels the last alone."""
    labels = host.rsplit(".", _MOST_LABELS)[-_MOST_LABELS:]
    if labels[-1].isdigit() or ":" in host or len(host) > _LONGEST_HOST:
        return []
    return [".".join(labels[start:]) for start in range(len(labels) - 2, -1, -1)]


def _prefixes(path: str) -> list[str]:
    """The root and the paths that match a request's: directories first, then what ends with a slash."""
    if len(path) > _LONGEST_PATH:
        path = path[: path.rfind("/", 0, _LONGEST_PATH) + 1]
    ends = [index for index, letter in enumerate(path[1:], 1) if letter == "/"]
    found = [*(path[:end] for end in ends), path, *(path[: end + 1] for end in ends)]
    kept = [one for one in found if one.startswith("/") and ";" not in one]
    return list(dict.fromkeys(["/", *kept]))


Known = Callable[[UnwantedCookie], Iterable[CookieScope]]
"""Tells where a cookie is declared or was seen to be set."""


def expire(
    leftovers: Sequence[UnwantedCookie],
    around: RequestScope,
    answer: Iterable[str],
    known: Known,
    budget: int = BUDGET,
) -> list[Deletion]:
    """The lines that one answer takes along, in the order in which they have to leave.

    What came with the request goes first, to its known places or else to the whole site; then what did not
    come; then the guesses. Each cookie gets one line before any gets a second, and what does not fit waits
    for the next answer.

    Args:
        leftovers: what has to go, each once.
        around: what the request tells.
        answer: the Set-Cookie values that leave with it, behind these lines. A cookie that they expire in our
            words already is left out: a second pass adds nothing.
        known: where a cookie is declared or was seen to be set. Asked only of what a line is written for.
        budget: octets of header fields that there is room for.
    """
    room = _Room(budget) if around.chosen else _Room(min(budget, _PAGE_BUDGET), _PAGE_LINES)
    agenda = _Agenda(leftovers, around, answer, known)
    return [expiry for turns in agenda.stages() for expiry in room.fill(turns)]


def field_octets(line: str) -> int:
    """What a Set-Cookie value takes of a response's header; nothing, if there is none."""
    return len(f"Set-Cookie: {line}\r\n") if line else 0


class _Room:
    """What there is left on one answer."""

    def __init__(self, octets: int, lines: int = BUDGET) -> None:
        self._octets, self._lines = octets, lines

    def fill(self, turns: Iterable[Iterator[Deletion]]) -> Iterator[Deletion]:
        """One line of each, then another of each, while there is room; who does not fit in has to wait."""
        while turns:
            waiting: list[Iterator[Deletion]] = []
            for turn in turns:
                if self._octets < _SHORTEST or not self._lines:
                    return
                expiry = next(turn, None)
                if expiry is not None and self._takes(field_octets(expiry.line)):
                    yield expiry
                    waiting.append(turn)
            turns = waiting

    def _takes(self, octets: int) -> bool:
        if octets > self._octets:
            return False
        self._octets -= octets
        self._lines -= 1
        return True


class _Agenda:
    """Who is to be told what on one answer, worked out no further than it is asked for."""

    def __init__(
        self, leftovers: Sequence[UnwantedCookie], around: RequestScope, answer: Iterable[str], known: Known
    ) -> None:
        self._around, self._known = around, known
        cookies = [read_set_cookie(text) for text in set(answer)]
        self._taken = {(cookie.name, scope_of(cookie, around.path)) for cookie in cookies}
        waiting = _untold(leftovers, cookies, around)
        self._absent = [one for one in waiting if not one.came]
        self._came = [one for one in waiting if one.came]
        self._share = BUDGET
        if not around.chosen:
            self._share = _PAGE_LINES // max(1, len(self._came))
            self._came = _rotated(self._came, around.minute, _PAGE_LINES)
        self._likely, self._others = _guesses(around)
        self._now_likely = self._likely_now()
        self._said = set[str]()

    def _likely_now(self) -> list[CookieScope]:
        """The likely places that come first now: every other minute, where they would fill the answer."""
        if len(self._likely) < self._share:
            return self._likely
        return (
            [] if self._around.minute % 2 else _rotated(self._likely, self._around.minute // 2, self._share)
        )

    def _others_now(self) -> list[CookieScope]:
        """The other places from where it is their turn, as many a minute as the likely leave room for."""
        minute, likely = self._around.minute, len(self._likely)
        if likely < self._share:
            return _rotated(self._others, minute, self._share - likely)
        return _rotated(self._others, minute // 2, self._share)

    def stages(self) -> Iterator[Iterable[Iterator[Deletion]]]:
        """The cookies' lines, cookie by cookie, in the order of what is to be done first."""
        yield (self._lines(leftover, self._first(leftover)) for leftover in self._came)
        yield (self._lines(leftover, self._known_scopes(leftover)) for leftover in self._absent)
        rest = [*self._now_likely, *self._others_now(), *self._likely]
        yield (self._lines(leftover, rest) for leftover in self._came)

    def _first(self, leftover: UnwantedCookie) -> list[CookieScope]:
        return self._known_scopes(leftover) or self._now_likely

    def _known_scopes(self, leftover: UnwantedCookie) -> list[CookieScope]:
        host = self._around.host
        places = dict.fromkeys(place for place in self._known(leftover) if covers(place.domain, host))
        kept = [*islice(places, _MOST_SCOPES)]
        return kept if len(kept) <= self._share else _rotated(kept, self._around.minute, self._share)

    def _lines(self, leftover: UnwantedCookie, places: Iterable[CookieScope]) -> Iterator[Deletion]:
        fits = _demand(leftover.name, self._around)
        for place in places:
            if not fits(place) or (leftover.name, place) in self._taken:
                continue
            line = _line(leftover, place, self._around)
            if line not in self._said:
                self._said.add(line)
                yield Deletion(leftover, line)


def _untold(
    leftovers: Iterable[UnwantedCookie], cookies: Iterable[SetCookie], around: RequestScope
) -> list[UnwantedCookie]:
    """Those that the cookies of an answer do not expire in our words already."""
    read = [(UnwantedCookie(one.name or one.value, named=bool(one.name)), one) for one in cookies]
    told = {name[:2] for name, one in read if one.line == _line(name, scope_of(one, around.path), around)}
    return [one for one in leftovers if len(one.name) <= _LONGEST_NAME and one[:2] not in told]


def _rotated(items: list[T], minute: int, share: int) -> list[T]:
    """The items from where it is their turn: on by as many as fit in each minute.

    Without a common divisor every item is the first one in time, however few fit in.
    """
    if len(items) < 2:
        return items
    step = next(step for step in range(max(1, share), 0, -1) if gcd(step, len(items)) == 1)
    start = minute * step % len(items)
    return [*items[start:], *items[:start]]


def _line(leftover: UnwantedCookie, place: CookieScope, around: RequestScope) -> str:
    name = leftover.name
    # The words of SetCookie.deletion, so that a second pass leaves them as they are.
    start = f"{name}=" if leftover.named else name
    pieces = [start, "Max-Age=0", f"Expires={EPOCH}", f"Path={place.path}"]
    if place.domain:
        pieces.append(f"Domain={place.domain}")
    if around.secure:
        pieces.append("Secure")
    if name.lower().startswith(("__http-", "__host-http-")):
        pieces.append("HttpOnly")
    pieces.append("SameSite=None" if around.chosen and around.secure else "SameSite=Lax")
    if place.partitioned:
        pieces.append("Partitioned")
    return "; ".join(pieces)
