"""The log of seals: a signed chain that says what the store held, and what was purged from it.

Each entry carries the hash of the one before, so that the newest one proves all others, whatever became
of the keys that signed them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import msgspec

from .event import canonical
from .signing import KeyRing, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One entry of the log. It speaks of one range of records, closed for good.

    A `seal` says that the range held `records` records whose octets hash to `hash`, the last of which
    expires at `ends`; `unverified` of them did not verify when it was made. A `purge` repeats that and
    says that they were to go. `at` is when the entry was made, `previous` the digest of the one before.
    """

    number: int
    kind: Literal["seal", "purge"]
    range_no: int
    records: int
    unverified: int
    hash: str
    ends: str
    at: str
    previous: str
    key_id: str = ""
    mac: str = ""

    def signed(self, keys: KeyRing) -> "Seal":
        """The entry with its MAC."""
        entry = replace(self, key_id=keys.signing)
        return replace(entry, mac=keys.sign(entry.content))

    @property
    def content(self) -> bytes:
        """The octets that the MAC covers."""
        # The word keeps a seal's MAC from ever being that of a record.
        return canonical(("seal-log", *(getattr(self, field.name) for field in fields(self)[:-1])))

    @property
    def digest(self) -> str:
        """The hash by which the next entry refers to this one."""
        return hashlib.sha256(self.content + self.mac.encode()).hexdigest()

    def verifies(self, keys: KeyRing) -> bool | None:
        """Whether the MAC is right; None if its key is not known."""
        return keys.verifies(self.content, self.key_id, self.mac)

    def to_json_line(self) -> str:
        """One line of JSON, to be kept where the owner of the database cannot reach it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json_line(cls, line: str) -> "Seal":
        """Read such a line; ValueError if it is none."""
        return read_json(line, cls)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. `record` names the first record concerned, if one can be."""

    kind: Literal["seal", "changed", "missing", "inserted", "unproven", "snapshot"]
    message: str
    range_no: int = 0
    record: str = ""


def check_log(log: Sequence[Seal], keys: KeyRing, kept: Iterable[Seal] = ()) -> Iterator[Finding]:
    """What is wrong with the log itself; `kept` are entries from elsewhere that it must still hold.

    An entry whose key is not known is proven by a later one that is, or by a kept copy.
    """
    anchors = dict.fromkeys(kept)
    yield from _check_copies(log, anchors)
    places = enumerate(["", *(entry.digest for entry in log)], 1)
    proven = False
    for entry, place in reversed(list(zip(log, places, strict=False))):
        verdict = entry.verifies(keys)
        proven = proven or verdict is True or entry in anchors
        if verdict is False:
            yield Finding("seal", f"seal {entry.number} was changed or forged", entry.range_no)
        elif not proven:
            yield Finding("unproven", f"seal {entry.number}: its key is not known", entry.range_no)
        if (entry.number, entry.previous) != place:
            yield Finding("seal", f"seal {entry.number} does not follow from the one before", entry.range_no)
            proven = False


def _check_copies(log: Sequence[Seal], kept: Iterable[Seal]) -> Iterator[Finding]:
    """Which of the entries from elsewhere the log does not hold as they were."""
    by_number = {entry.number: entry for entry in log}
    for entry in kept:
        if by_number.get(entry.number) != entry:
            fate = "is not" if entry.number not in by_number else "differs from the one"
            yield Finding("seal", f"seal {entry.number} of the file {fate} in the store", entry.range_no)
