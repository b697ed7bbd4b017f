"""The consent token: what we signed comes back, and nothing else does."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware import Consent
from consent_middleware.core.permissions import permissions_on
from consent_middleware.core.token import LONGEST_READ, LONGEST_WRITTEN, Signer, TokenSigner
from consent_middleware.core.visitor import Circumstances, view_visitor
from consent_middleware.errors import BadTokenError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEYS = ["newest key", "older key"]
SALT = "consent_middleware.token.v2.site"
SIGNER = TokenSigner(KEYS, "site")
CONSENT = Consent(decided_at=NOW, version=1, purposes=["analytics"], id="x")

ids = st.lists(st.text(max_size=20), max_size=5)
moments = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given a zone
consents = st.builds(
    Consent,
    decided_at=moments,
    version=st.integers(1, 10**6),
    purposes=ids,
    granted_vendors=ids,
    granted_cookies=ids,
    refused_purposes=ids,
    refused_vendors=ids,
    refused_cookies=ids,
    id=st.text(max_size=30) | st.none(),
    measured_since=moments | st.none(),
    gpc=st.booleans(),
    dnt=st.booleans(),
    asked=st.booleans(),
)


@given(consents)
def test_round_trip(consent):
    """A choice comes back as it was, to the microsecond; one that granted nothing loses its id."""
    expected = consent if consent.grants else Consent(**{**_fields(consent), "id": None})
    assert SIGNER.verify(SIGNER.sign(consent)) == expected


def test_tokens_from_before_dnt():
    """A token that says nothing of DNT was made without it, and a choice made without it says nothing of it."""
    old = Signer(KEYS, SALT).seal(b'{"t":1763899200000000,"v":2,"p":["analytics"],"id":"x","g":true}')
    read = SIGNER.verify(old)
    assert (read.gpc, read.dnt, read.asked) == (True, False, True)
    assert SIGNER.sign(read) == old
    assert SIGNER.verify(SIGNER.sign(Consent(decided_at=NOW, version=1, dnt=True))).dnt


def _fields(consent):
    return {name: getattr(consent, name) for name in Consent.__dataclass_fields__}


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda octets: octets.decode("latin-1")))
def test_garbage_is_refused(text):
    """No made-up text is a token."""
    with pytest.raises(BadTokenError):
        SIGNER.verify(text)


@given(st.data())
def test_one_changed_character_is_refused(data):
    """No token survives a change of one character, other spellings of the same bits included."""
    token = SIGNER.sign(CONSENT)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(
        st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/. \n")
    )
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        with pytest.raises(BadTokenError):
            SIGNER.verify(changed)


@pytest.mark.parametrize("change", ["{}=", "{}\n", " {}", "{}.", "{}A", ".{}"])
def test_other_spellings_are_refused(change):
    """Padding and blanks around a token are not ignored."""
    with pytest.raises(BadTokenError):
        SIGNER.verify(change.format(SIGNER.sign(CONSENT)))


def test_key_rotation():
    """The newest key signs; tokens of older keys hold; tokens of retired keys do not."""
    older, newest = TokenSigner(["older key"], "site"), TokenSigner(["newest key"], "site")
    assert SIGNER.verify(older.sign(CONSENT)) == CONSENT
    assert newest.verify(SIGNER.sign(CONSENT)) == CONSENT
    with pytest.raises(BadTokenError):
        newest.verify(older.sign(CONSENT))


def test_tokens_of_another_site_are_refused():
    """The same key on another site signs other tokens."""
    with pytest.raises(BadTokenError):
        SIGNER.verify(TokenSigner(["newest key"], "other").sign(CONSENT))


def test_another_payload_with_our_signature_is_refused():
    """What we signed for other ends, or in another format, is no token."""
    for payload in (
        b"[]",
        b"{}",
        b'{"t":"x","v":1}',
        b'{"t":1e99,"v":1}',
        b'{"t":99999999999999999999,"v":1}',
        b"\xff",
    ):
        with pytest.raises(BadTokenError):
            SIGNER.verify(Signer(KEYS, SALT).seal(payload))


def test_limits():
    """A token over 4096 octets is refused unread, and what we write stays below."""
    with pytest.raises(BadTokenError):
        SIGNER.verify("A" * (LONGEST_READ - 43) + "." + "A" * 43)
    assert LONGEST_WRITTEN < LONGEST_READ


def test_coarsening(make_policy, registry_text):
    """A choice too long for a cookie loses permissions and gains none."""
    names = [f"cookie_{number}_with_a_rather_long_name" for number in range(200)]
    rules = "".join(f'[[cookies]]\nname = "{name}"\npurpose = "social"\n' for name in names)
    policy = make_policy(registry_text + rules)
    consent = Consent(
        decided_at=NOW,
        version=2,
        purposes=["social", "analytics"],
        refused_cookies=[*names[:150], "stats"],
        id="x",
    )
    token = policy.token(consent)
    assert len(token) <= LONGEST_WRITTEN
    read = policy.read_consent(token, NOW)
    assert read.purposes == ("analytics",)
    assert read.refused_purposes == ("measurement",)
    before, after = (_permissions(policy, choice) for choice in (consent, read))
    for rule in policy.registry.cookies:
        assert before.allows_rule(rule) or not after.allows_rule(rule)


def _permissions(policy, consent):
    return view_visitor(
        policy.compiled, [consent], Circumstances(now=NOW), partial(permissions_on, policy.compiled)
    ).permissions


def test_the_cookie(policy):
    """The consent cookie ends with the choice, and is as safe as the scheme lets it be."""
    granted = Consent(decided_at=NOW - timedelta(days=30), version=2, purposes=["analytics"], id="x")
    cookie = policy.consent_cookie(granted, NOW)
    token = policy.token(granted)
    assert cookie == (
        f"__Host-consent={token}; Max-Age=31622400; Expires=Wed, 24 Nov 2027 12:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"
    )
    assert policy.consent_cookie(granted, NOW, secure=False) == (
        f"consent={token}; Max-Age=31622400; Expires=Wed, 24 Nov 2027 12:00:00 GMT; Path=/; HttpOnly; SameSite=Lax"
    )


def test_the_cookie_with_a_domain(make_policy, registry_text):
    """A choice that subdomains share cannot be bound to one host, so its prefix is the weaker one."""
    policy = make_policy(registry_text + '\n[consent]\ndomain = ".example.com"\n')
    cookie = policy.consent_cookie(CONSENT, NOW)
    assert cookie.startswith("__Secure-consent=")
    assert "; Domain=.example.com;" in cookie
    assert policy.consent_cookie(CONSENT, NOW, secure=False).startswith("consent=")
