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
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from .registry import CookieRule
from .set_cookie import EPOCH, SetCookie, read_set_cookie

MOST_LINES = 12
MOST_OCTETS = 1536
"""Of all values together: a proxy keeps 4 or 8 KiB for a response's whole header."""
_MOST_PLACES = 60
_LONGEST_PATH = 255
_LONGEST_NAME = 512
_FEWEST_TRIES = 40
_ROUNDS = 3


class Place(NamedTuple):
    """Where a browser keeps a cookie; the name aside, this is the cookie's identity."""

    domain: str
    """Without a leading dot; "" for the host alone."""
    path: str
    partitioned: bool = False


class Surroundings(NamedTuple):
    """What a request tells about where its cookies can be."""

    host: str
    """In lower case, without a port."""
    path: str
    """As the browser has it: percent-encoded, mount included."""
    secure: bool
    chosen: bool = False
    """Whether the visitor's choice is made on this very request."""


class Leftover(NamedTuple):
    """A cookie that has to go."""

    name: str
    named: bool
    """False for a nameless cookie, whose text stands in `name`."""
    known: tuple[Place, ...]
    """Where it is declared or was seen to be set."""
    tried: int = 0
    """How many places were tried already."""
    came: bool = True
    """Whether it came with the request; if not, the known places are all there is to try."""


class Expiry(NamedTuple):
    """One deletion."""

    leftover: Leftover
    line: str


def declared_places(rule: CookieRule) -> tuple[Place, ...]:
    """The places that a rule states; where it states a domain or a path alone, with the usual other half.

    A domain without a leading dot can mean the host alone or the host and all below: both are tried.
    """
    if not rule.domains and not rule.paths:
        return ()
    domains = [form for domain in rule.domains or ("",) for form in _forms(domain)]
    return tuple(Place(domain, path, rule.partitioned) for path in rule.paths or ("/",) for domain in domains)


def _forms(domain: str) -> tuple[str, ...]:
    domain = domain.lower()
    if not domain or domain.startswith("."):
        return (domain.removeprefix("."),)
    return ("", domain)


def place_of(cookie: SetCookie, request_path: str) -> Place:
    """Where a browser puts a cookie that is set by an answer to a request for `request_path`."""
    attributes = cookie.attributes
    return Place(attributes.domain, attributes.path or default_path(request_path), attributes.partitioned)


def default_path(path: str) -> str:
    """The path of a cookie that states none (RFC 6265bis, section 5.1.4)."""
    return path[: path.rfind("/")] or "/"


def places(leftover: Leftover, around: Surroundings) -> list[Place]:
    """Where a cookie of this request can be and a line from here can reach: the known places first."""
    known = [place for place in leftover.known if covers(place.domain, around.host)]
    candidates = dict.fromkeys([*known, *(_guesses(around) if leftover.came else ())])
    fits = _demand(leftover.name, around)
    return [place for place in candidates if fits(place)][:_MOST_PLACES]


def covers(domain: str, host: str) -> bool:
    """Whether a cookie's domain is the host or above it: whether the host can set and delete it."""
    return not domain or host == domain or host.endswith(f".{domain}")


def _demand(name: str, around: Surroundings) -> Callable[[Place], bool]:
    prefix = name.lower()
    if not around.secure:
        if prefix.startswith(("__host-", "__secure-", "__http-")):
            return lambda _: False
        return lambda place: not place.partitioned
    if prefix.startswith("__host-"):
        return lambda place: not place.domain and place.path == "/"
    return lambda _: True


def _guesses(around: Surroundings) -> Iterable[Place]:
    """Likely ones first: the whole site, then directories, which scripts leave by default."""
    domains = ["", *_parents(around.host)]
    paths = _prefixes(around.path)
    for some in (paths[:1], paths[1:]):
        for partitioned in (False, True):
            yield from (Place(domain, path, partitioned) for path in some for domain in domains)


def _parents(host: str) -> list[str]:
    """The host and its parents that can be a `Domain`, the shortest first."""
    labels = host.split(".")
    if labels[-1].isdigit() or ":" in host:
        return []
    return [".".join(labels[start:]) for start in range(len(labels) - 2, -1, -1)]


def _prefixes(path: str) -> list[str]:
    """The root and the paths that match a request's: directories first, then what ends with a slash."""
    ends = [index for index, letter in enumerate(path) if letter == "/" and index]
    found = [*(path[:end] for end in ends), path, *(path[: end + 1] for end in ends)]
    kept = [one for one in found if one.startswith("/") and len(one) <= _LONGEST_PATH and ";" not in one]
    return list(dict.fromkeys(["/", *kept]))


def expire(leftovers: Sequence[Leftover], around: Surroundings, answer: Iterable[str]) -> list[Expiry]:
    """The lines that one answer takes along, in the order in which they have to leave.

    `answer` are the Set-Cookie values that leave with it, behind these lines. What was tried least comes
    first, and each cookie gets one line before any gets a second; what does not fit waits for the next
    answer. A cookie that the answer expires in our words already is left out: a second pass adds nothing.
    """
    texts = set(answer)
    taken = {(cookie.name, place_of(cookie, around.path)) for cookie in map(read_set_cookie, texts)}
    hungriest = sorted(leftovers, key=lambda one: (not one.came, one.tried))
    turns = [_turn(leftover, around, texts, taken) for leftover in hungriest]
    chosen: list[Expiry] = []
    size = 0
    for row in zip_longest(*turns):
        for expiry in filter(None, row):
            if len(chosen) < MOST_LINES and size + len(expiry.line) <= MOST_OCTETS:
                chosen.append(expiry)
                size += len(expiry.line)
    return chosen


def _turn(
    leftover: Leftover, around: Surroundings, texts: set[str], taken: set[tuple[str, Place]]
) -> list[Expiry]:
    """What one cookie would like to have on this answer: the next of its places."""
    lines = {place: _line(leftover, place, around) for place in places(leftover, around)}
    free = [place for place in lines if (leftover.name, place) not in taken]
    if not free or not texts.isdisjoint(lines.values()):
        return []
    start = leftover.tried % len(free)
    # A known place is nearly always the right one: guesses wait until the cookie was seen again.
    known = sum(place in leftover.known for place in free)
    return [Expiry(leftover, lines[place]) for place in free[start : known if start < known else None]]


def refuses(leftover: Leftover, around: Surroundings) -> bool:
    """Whether trying on is pointless: every place was tried again and again, or there is none."""
    count = len(places(leftover, around))
    too_long = len(leftover.name) > _LONGEST_NAME
    return not count or too_long or leftover.tried >= max(_ROUNDS * count, _FEWEST_TRIES)


def _line(leftover: Leftover, place: Place, around: Surroundings) -> str:
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
