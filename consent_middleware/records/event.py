"""One choice as evidence: the event that is stored, and how it is made from what happened.

Pure values: time and identifiers come in as arguments. The words for states are those of the W3C Data
Privacy Vocabulary (DPV 2, "Consent Status").
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import msgspec

from ..core.compiled import NOTHING, CompiledRegistry
from ..core.consent import Consent, Signals, utc_day
from ..core.permissions import Grounds, permissions_on
from ..core.visitor import Circumstances, view_visitor
from .signing import KeyRing, read_json

_HOST = re.compile(r"[a-z0-9._:\[\]-]{1,255}")
_MARK = '{"consent_record":'


class State(StrEnum):
    """What became of consent by this choice."""

    GIVEN = "given"
    PARTLY_GIVEN = "partly-given"
    """Given, with something that was offered refused. DPV has no term of its own: ConsentGiven."""
    RENEWED = "renewed"
    """The same as before, confirmed."""
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    """Refused where something had been given."""
    EXPIRED = "expired"
    """Never stored: what a given consent becomes at its end."""

    @property
    def term(self) -> str:
        """The DPV term, with its prefix."""
        return _TERMS[self]


_TERMS = {
    State.GIVEN: "dpv:ConsentGiven",
    State.PARTLY_GIVEN: "dpv:ConsentGiven",
    State.RENEWED: "dpv:RenewedConsentGiven",
    State.REFUSED: "dpv:ConsentRefused",
    State.WITHDRAWN: "dpv:ConsentWithdrawn",
    State.EXPIRED: "dpv:ConsentExpired",
}


class Source(StrEnum):
    """Where the choice was made."""

    BANNER = "banner"
    PREFERENCES = "preferences"
    WITHDRAW = "withdraw"
    API = "api"
    CONTINUED_BROWSING = "continued-browsing"
    APP = "app"


class Act(StrEnum):
    """What was done: the `choice` of a POST, or `grant` by the site's own code."""

    ACCEPT_ALL = "accept-all"
    REJECT_ALL = "reject-all"
    SAVE = "save"
    WITHDRAW = "withdraw"
    ADD = "add"
    GRANT = "grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a verified offer says was shown: which registry, in which language and layout, and when.

    `asked` is a digest of the ids of all that was asked about.
    """

    snapshot: str
    asked: str
    version: int
    language: str
    layout: str
    shown_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEvent:
    """The record of one choice.

    `granted` and `refused` together name everything that was offered, as `purpose:id`, `vendor:id` and
    `cookie:rule`, sorted. `offered_at` is None where the choice was not shown by this site (a native app
    without an offer); `layout` is empty then. `network` is the truncated address, None by default. Times
    are UTC, to the millisecond.
    """

    record_id: str
    consent_id: str | None = field(repr=False)
    previous: str | None
    """The record that this one replaces."""
    state: State
    time: datetime
    expires_at: datetime
    source: Source
    action: Act
    granted: tuple[str, ...]
    refused: tuple[str, ...]
    snapshot: str
    offered_at: datetime | None
    version: int
    language: str
    layout: str
    host: str
    signals: tuple[str, ...]
    network: str | None = field(repr=False)
    token: str = field(repr=False)

    def state_at(self, now: datetime) -> State:
        """The state as of `now`: what was given is expired after its end."""
        gives = self.state in (State.GIVEN, State.PARTLY_GIVEN, State.RENEWED)
        return State.EXPIRED if gives and now >= self.expires_at else self.state


def make_event(  # noqa: PLR0913 - a record has that many facts, all by keyword
    *,
    random: bytes,
    consent: Consent,
    compiled: CompiledRegistry,
    snapshot: str,
    source: Source,
    action: Act,
    token: str,
    now: datetime,
    host: str = "",
    language: str = "",
    signals: Iterable[str] = (),
    offer: Offer | None = None,
    previous: Consent | None = None,
    previous_record: str | None = None,
    address: str | None = None,
) -> ConsentEvent:
    """The record of `consent`, a choice made at `now` with the signals `gpc` and `dnt` that were seen.

    `random` is sixteen octets for its id.

    `snapshot` is the hash of the registry in force, `previous` the choice that this one replaces and
    `previous_record` its record's id. What a verified `offer` says wins over what the site believes now.
    `address` is the visitor's, kept only in its truncated form; leave it out unless there is a reason.
    A refusal where nothing had been given is tied to nothing: its id is random, its times are days, and it
    holds no token. A withdrawal has its exact time, and the id of the consent that it ends.
    """
    signals = tuple(sorted(set(signals)))
    granted, refused = decisions(compiled, consent, now, signals)
    event = ConsentEvent(
        record_id=uuid7(now, random),
        consent_id=consent.id if consent.grants or previous is None else previous.id,
        previous=previous_record,
        state=_state(consent, previous, action, complete=not refused),
        time=_milliseconds(now),
        expires_at=_milliseconds(compiled.ends(consent)),
        source=source,
        action=action,
        granted=granted,
        refused=refused,
        snapshot=snapshot,
        offered_at=None,
        version=consent.version,
        language=language,
        layout="",
        host=host.lower() if _HOST.fullmatch(host.lower()) else "",
        signals=signals,
        network=truncated(address) if address else None,
        token=token,
    )
    if offer:
        event = replace(
            event,
            snapshot=offer.snapshot,
            offered_at=_milliseconds(offer.shown_at),
            language=offer.language,
            layout=offer.layout,
        )
    return _untied(event, random) if event.state is State.REFUSED else event


def _untied(event: ConsentEvent, random: bytes) -> ConsentEvent:
    """The record of a refusal without what could tie it to its visitor."""
    return replace(
        event,
        record_id=_random_uuid(random),
        consent_id=None,
        previous=None,
        time=utc_day(event.time),
        offered_at=event.offered_at and utc_day(event.offered_at),
        token="",
    )


def decisions(
    compiled: CompiledRegistry, consent: Consent, now: datetime, signals: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Everything that was offered, as (granted, refused): what needs no choice was not offered.

    Where the site's own control granted something to a visitor who was not asked, only that was offered.
    """
    signals = set(signals)
    around = Circumstances(now=now, signals=Signals(gpc="gpc" in signals, dnt="dnt" in signals))
    permissions = view_visitor(compiled, [consent], around, partial(permissions_on, compiled)).permissions
    uncovered = compiled.uncovered(consent.version)
    purposes = compiled.by_consent - uncovered.purposes
    if consent.asked:
        purposes |= compiled.by_objection

    def answers() -> Iterator[tuple[str, bool]]:
        for purpose in purposes:
            yield f"purpose:{purpose}", permissions.allows(purpose)
        for vendor in compiled.registry.vendors.values():
            if vendor.id not in uncovered.vendors and purposes.intersection(vendor.purposes):
                yield f"vendor:{vendor.id}", permissions.allows_vendor(vendor.id)
        for rule in compiled.optional_cookies.values():
            if rule.purpose in purposes and rule.vendor not in uncovered.vendors:
                yield f"cookie:{rule.name}", permissions.allows_rule(rule)

    answered = sorted(answers())
    refused = tuple(name for name, yes in answered if not yes and consent.asked)
    return tuple(name for name, yes in answered if yes), refused


def _state(consent: Consent, previous: Consent | None, action: Act, *, complete: bool) -> State:
    if not consent.grants:
        return State.WITHDRAWN if previous and previous.grants else State.REFUSED
    same = previous is not None and _said(previous) == _said(consent)
    if same and action not in {Act.GRANT, Act.ADD}:
        return State.RENEWED
    return State.GIVEN if complete else State.PARTLY_GIVEN


def _said(consent: Consent) -> Grounds:
    """What a choice says, without its date and its id."""
    return Grounds.of(consent, NOTHING, live=True, by_default=False, decided=consent.asked)


def truncated(address: str) -> str | None:
    """The network of an IP address, /24 or /48, which names no household; None if it is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(ip_network((mapped.packed, 24 if mapped.version == 4 else 48), strict=False))


def uuid7(now: datetime, random: bytes) -> str:
    """A record id for this moment (UUIDv7, RFC 9562, section 5.7); `random` is ten octets."""
    milliseconds = int(_milliseconds(now).timestamp() * 1000 + 0.5)
    bits = int.from_bytes(random[:10], "big")
    high, low = (bits >> 62) & 0xFFF, bits & ((1 << 62) - 1)
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


def _random_uuid(random: bytes) -> str:
    """A record id that tells no time (UUIDv4, RFC 9562, section 5.4); `random` is sixteen octets."""
    return str(UUID(bytes=random[:16], version=4))


def _milliseconds(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_rfc3339(moment: datetime) -> str:
    """A moment as it is stored: RFC 3339, UTC, always 24 characters, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


COLUMNS = (
    "range_no",
    *ConsentEvent.__dataclass_fields__,
    "key_id",
    "mac",
)
"""The columns of a stored record, in the order in which its MAC covers them."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename={"event": "consent_record"}):
    """An event as it is stored, or as it goes to the log when it cannot be (`range_no` is 0 then)."""

    event: ConsentEvent
    range_no: int
    key_id: str
    mac: str

    @classmethod
    def signed(cls, event: ConsentEvent, range_no: int, keys: KeyRing) -> "Record":
        """The event with its MAC, for the range of records that is open."""
        content = canonical((range_no, *_values(event), keys.signing))
        return cls(event=event, range_no=range_no, key_id=keys.signing, mac=keys.sign(content))

    @classmethod
    def of_columns(cls, values: tuple[Any, ...]) -> "Record":
        """From a row, in the order of `COLUMNS`."""
        range_no, *fields, key_id, mac = values
        event = dict(zip(ConsentEvent.__dataclass_fields__, fields, strict=True))
        for name in ("granted", "refused", "signals"):
            event[name] = read_json(event[name], tuple[str, ...])
        return cls(event=msgspec.convert(event, ConsentEvent), range_no=range_no, key_id=key_id, mac=mac)

    @property
    def columns(self) -> tuple[Any, ...]:
        """As a row, in the order of `COLUMNS`."""
        return self.range_no, *_values(self.event), self.key_id, self.mac

    def verifies(self, keys: KeyRing) -> bool | None:
        """Whether the MAC is right; None if its key is not known."""
        return keys.verifies(canonical(self.columns[:-1]), self.key_id, self.mac)

    def to_json_line(self) -> str:
        """One line of JSON: the form in the log, in exports and for imports."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json_line(cls, line: str) -> "Record | None":
        """Read such a line, whatever a log puts before it; None if it holds no record.

        Raises ValueError if it holds one that is damaged.
        """
        start = line.find(_MARK)
        if start < 0:
            return None
        return read_json(line[start:].strip(), cls)


def canonical(values: tuple[Any, ...]) -> bytes:
    """The octets that a MAC or a seal covers: a JSON array of the columns, without blanks."""
    # SQLite holds octets where text belongs if told so; they must not pass for the text of their base64.
    return msgspec.json.encode([[value] if isinstance(value, bytes) else value for value in values])


def _values(event: ConsentEvent) -> Iterator[Any]:
    for name in ConsentEvent.__dataclass_fields__:
        match getattr(event, name):
            case datetime() as moment:
                yield to_rfc3339(moment)
            case tuple() as names:
                yield msgspec.json.encode(names).decode()
            case value:
                yield value
