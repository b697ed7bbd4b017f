"""The event: what a choice becomes when it is written down."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_middleware.core.consent import Consent
from consent_middleware.errors import ConfigurationError
from consent_middleware.records.event import (
    Act,
    ConsentEvent,
    Offer,
    Record,
    Source,
    State,
    to_rfc3339,
    truncated,
    uuid7,
)
from consent_middleware.records.signing import KeyRing


def moments_between(first, last):
    """Moments in UTC from the start of one year to the start of another."""
    years = (datetime(year, 1, 1) for year in (first, last))  # noqa: DTZ001 - hypothesis adds the zone
    return st.datetimes(*years, timezones=st.just(UTC))


@pytest.fixture
def choice(now):
    def make(*purposes, **more):
        id = "chosen" if purposes else None
        return Consent(**{"decided_at": now, "version": 2, "purposes": purposes, "id": id, **more})

    return make


EVERYTHING = {
    "purpose:advertising",
    "purpose:analytics",
    "purpose:counting",
    "vendor:google",
    "cookie:_ga_*",
    "cookie:ads",
}


@pytest.mark.parametrize(
    ("purposes", "refusals", "granted"),
    [
        ((), {}, {"purpose:counting"}),
        ((), {"refused_purposes": ("counting",)}, set()),
        (("analytics", "advertising"), {}, EVERYTHING),
        (("analytics",), {}, {"purpose:counting", "purpose:analytics", "cookie:_ga_*"}),
        (
            ("analytics", "advertising"),
            {"refused_vendors": ("google",)},
            EVERYTHING - {"vendor:google", "cookie:_ga_*"},
        ),
        (("analytics", "advertising"), {"refused_cookies": ("ads",)}, EVERYTHING - {"cookie:ads"}),
    ],
)
def test_everything_offered_is_granted_or_refused(event, choice, purposes, refusals, granted):
    """Whatever was chosen, each thing that was offered is named once, as granted or as refused."""
    made = event(consent=choice(*purposes, **refusals))
    assert set(made.granted) == granted
    assert set(made.refused) == EVERYTHING - granted
    assert list(made.granted) == sorted(made.granted)


def test_what_came_later_was_not_offered(event, choice):
    """A purpose that is newer than the choice is neither granted nor refused: it was not on the screen."""
    made = event(consent=choice("analytics", version=1))
    assert "purpose:advertising" not in made.granted + made.refused
    assert "cookie:ads" not in made.granted + made.refused


def test_a_signal_that_refuses_is_recorded_as_refusal(event, choice):
    """What a signal refuses at that moment is not recorded as granted, unless the choice knew of it."""
    both = ("analytics", "advertising")
    assert "purpose:advertising" in event(consent=choice(*both), signals=["gpc"]).refused
    assert "purpose:advertising" in event(consent=choice(*both, gpc=True), signals=["gpc"]).granted


@pytest.mark.parametrize(
    ("before", "chosen", "act", "state"),
    [
        (None, (), Act.REJECT_ALL, State.REFUSED),
        ((), (), Act.REJECT_ALL, State.REFUSED),
        (("analytics",), (), Act.WITHDRAW, State.WITHDRAWN),
        (("analytics",), (), Act.REJECT_ALL, State.WITHDRAWN),
        (None, ("analytics", "advertising"), Act.ACCEPT_ALL, State.GIVEN),
        (None, ("analytics",), Act.SAVE, State.PARTLY_GIVEN),
        (("analytics",), ("analytics",), Act.SAVE, State.RENEWED),
        (("analytics",), ("advertising",), Act.SAVE, State.PARTLY_GIVEN),
        (("analytics",), ("analytics",), Act.GRANT, State.PARTLY_GIVEN),
    ],
)
def test_states(event, choice, before, chosen, act, state):
    """The state follows from what was granted before and now, whatever button said so."""
    previous = None if before is None else choice(*before)
    assert event(consent=choice(*chosen), previous=previous, action=act).state is state


def test_a_refusal_is_tied_to_nothing(event, choice):
    """A refusal where nothing was given has no consent id and names no record that came before."""
    made = event(consent=choice(), previous=choice(), previous_record="r1", action=Act.REJECT_ALL)
    assert (made.consent_id, made.previous) == (None, None)


def test_a_withdrawal_ends_the_consent_that_it_withdraws(event, choice):
    """A withdrawal carries the id of what it ends, although the visitor's new choice has none."""
    made = event(consent=choice(), previous=choice("analytics"), previous_record="r1", action=Act.WITHDRAW)
    assert (made.consent_id, made.previous) == ("chosen", "r1")


def test_the_offer_says_what_was_shown(event, now):
    """What the verified offer says wins over what the site believes when the answer comes."""
    shown = now - timedelta(minutes=3)
    offer = Offer(snapshot="f" * 64, asked="d" * 32, version=2, language="fr", layout="box", shown_at=shown)
    made = event(offer=offer, language="en")
    assert (made.snapshot, made.language, made.layout, made.offered_at) == ("f" * 64, "fr", "box", shown)
    assert event().offered_at is None


def test_a_given_consent_expires(event, choice, now):
    """What was given is expired from its end on; a refusal never is."""
    made = event()
    assert made.expires_at == datetime(2027, 12, 23, 9, 30, 0, 250_000, tzinfo=UTC)
    assert made.state_at(made.expires_at - timedelta(seconds=1)) is State.PARTLY_GIVEN
    assert made.state_at(made.expires_at) is State.EXPIRED
    assert event(consent=choice()).state_at(made.expires_at) is State.REFUSED


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("WWW.Example.com:8443", "www.example.com:8443"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("a b", ""),
        ("=cmd|'/c calc'!A0", ""),
        ("\x00", ""),
        ("x" * 256, ""),
        ("é.example", ""),
    ],
)
def test_only_a_host_is_kept_as_host(event, host, kept):
    """The Host field comes from a stranger: anything but a host is left out."""
    assert event(host=host).host == kept


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("unknown", None),
        ("", None),
    ],
)
def test_addresses_are_truncated(address, network):
    """An address is kept as a network only: /24 or /48, or not at all."""
    assert truncated(address) == network


def test_no_address_by_default(event):
    """Unless the site asks for it, nothing of an address is kept; if it does, never the whole."""
    assert event().network is None
    assert event(address="192.0.2.77").network == "192.0.2.0/24"


@given(
    moments_between(1970, 2900),
    st.binary(min_size=10, max_size=10),
)
def test_record_ids_are_uuid7(moment, random):
    """A record id is a UUIDv7 of the moment and the random octets that were given (RFC 9562)."""
    id = UUID(uuid7(moment, random))
    assert (id.version, id.variant) == (7, "specified in RFC 4122")
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert id.int >> 80 == milliseconds


@given(st.lists(moments_between(1000, 9999), min_size=2, max_size=2))
def test_stamps_sort_like_times(moments):
    """The text of a time has one length, and its order is that of the times."""
    texts = [to_rfc3339(moment) for moment in moments]
    assert {len(text) for text in texts} == {24}
    whole = [moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in moments]
    assert (texts[0] < texts[1]) == (whole[0] < whole[1])


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.lists(texts).map(tuple)
moments = moments_between(1970, 9999).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
any_event = st.builds(
    ConsentEvent,
    record_id=texts, consent_id=st.none() | texts, previous=st.none() | texts, state=st.sampled_from(State),
    time=moments, expires_at=moments, source=st.sampled_from(Source), action=st.sampled_from(Act), granted=names,
    refused=names, snapshot=texts, offered_at=st.none() | moments, version=st.integers(1, 2**31 - 1), language=texts,
    layout=texts, host=texts, signals=names, network=st.none() | texts, token=texts,
)  # fmt: skip
RING = KeyRing(["one key", "another key"])


@settings(deadline=None)
@given(any_event, texts)
def test_a_record_survives_its_line_and_its_row(event, before):
    """A record reads back the same from its line, after whatever a log wrote before it, and from its row."""
    record = Record.signed(event, 3, RING)
    line = record.to_json_line()
    assert "\n" not in line
    if '{"consent_record":' not in before:
        assert Record.from_json_line(f"{before}{line}\n") == record
    assert Record.of_columns(record.columns) == record
    assert record.verifies(RING) is True


@settings(deadline=None)
@given(any_event, any_event)
def test_the_mac_covers_every_field(event, other):
    """The MAC of one event is right for no other, in no other range, and under no other key id."""
    record = Record.signed(event, 3, RING)
    if other != event:
        assert not Record(event=other, range_no=3, key_id=record.key_id, mac=record.mac).verifies(RING)
    assert not Record(event=event, range_no=4, key_id=record.key_id, mac=record.mac).verifies(RING)
    for name in ConsentEvent.__dataclass_fields__:
        mixed = replace(event, **{name: getattr(other, name)})
        if mixed != event:
            assert not Record(event=mixed, range_no=3, key_id=record.key_id, mac=record.mac).verifies(RING)


def test_older_keys_verify(event):
    """The first key signs, all verify; a key that is gone is told from a MAC that is wrong."""
    old, both = KeyRing(["old"]), KeyRing(["new", "old"])
    record = Record.signed(event(), 1, old)
    assert record.verifies(both) is True
    assert Record.signed(event(), 1, both).verifies(old) is None
    assert Record(event=event(), range_no=1, key_id=record.key_id, mac=record.mac).verifies(both) is False
    assert "old" not in record.key_id


@pytest.mark.parametrize("keys", [[], [""], "a single text"])
def test_keys_are_needed(keys):
    """Without a key, or with a text where a list belongs, the start is refused."""
    with pytest.raises(ConfigurationError, match="secret key"):
        KeyRing(keys)


@pytest.mark.parametrize("line", ["", "GET / 200", '{"message": "other JSON"}', "{"])
def test_other_lines_hold_no_record(line):
    """A line of a log that is not ours is no record, and no error."""
    assert Record.from_json_line(line) is None


@pytest.mark.parametrize("line", ['{"consent_record":{', '{"consent_record":{}}', '{"consent_record":1}'])
def test_damaged_lines_are_errors(line):
    """A line that was a record and is damaged is told, not skipped."""
    with pytest.raises(ValueError, match=r".+"):
        Record.from_json_line(line)
