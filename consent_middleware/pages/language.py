"""The language that a visitor is answered in (`Accept-Language`, RFC 9110, 12.5.4; lookup, RFC 4647, 3.4)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

LONGEST = 2048
"""Octets of a preference field that are read: several times what browsers send."""
_WISH = re.compile(
    r"(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8}){0,15})"
    r"(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?",
    re.ASCII,
)


def negotiate(accepted: str, languages: Sequence[str]) -> str:
    """The one of `languages` that a visitor likes best; the first that is not refused, if none is asked for.

    A wish finds what it is a variant of: `zh-Hant-TW` finds `zh-Hant`, then `zh`. A weight of 0 refuses a
    language and its variants, unless the variant is wished for itself. What is no wish is passed over.
    """
    weights = _weights(accepted)
    offered = [tag for tag in languages if not _is_refused(tag, weights)] or languages
    known = {tag.lower(): tag for tag in reversed(offered)}
    # Others come before `*`, which leaves the choice to the site (RFC 4647, section 3.4).
    wishes = [wish for wish, weight in weights.items() if weight and wish != "*"]
    wishes.sort(key=weights.__getitem__, reverse=True)
    wished = chain.from_iterable(map(widened, wishes))
    return next(filter(None, map(known.get, wished)), offered[0])


def widened(tag: str) -> Iterator[str]:
    """A tag, then the ones that it is a variant of."""
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def shortened(field: str) -> str:
    """A field that is a list, without the members for which it is too long."""
    return field if len(field) <= LONGEST else field[:LONGEST].rpartition(",")[0]


def _weights(accepted: str) -> Mapping[str, float]:
    weights: dict[str, float] = {}
    for member in shortened(accepted).lower().split(","):
        if found := _WISH.fullmatch(member.strip(" \t")):
            weights.setdefault(found[1], float(found[2] or 1))
    return weights


def _is_refused(tag: str, weights: Mapping[str, float]) -> bool:
    named = (weights[part] for part in widened(tag.lower()) if part in weights)
    return next(named, 1) == 0
