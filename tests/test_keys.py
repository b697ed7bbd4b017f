"""Secret keys: what is none stops the start with a sentence, and what looks mistyped is told."""

import re
import secrets
import warnings

import pytest

from consent_middleware import Consent, ConsentPolicy, Registry
from consent_middleware.errors import ConfigurationError, ConfigurationWarning
from consent_middleware.records.signing import KeyRing

KEY = "a key of many letters"
NO_KEYS = [
    (b"a key of many letters, in octets", "text"),
    ([b"a key of many letters, in octets"], "text"),
    ([KEY, b"a key of many letters, in octets"], "text"),
    (bytearray(b"a key of many letters"), "text"),
    (None, "no secret key"),
    (12345678901234567890, "text"),
    ([12345678901234567890], "text"),
    ([None], "text"),
    ([[KEY]], "text"),
    (True, "text"),
    (object(), "text"),
    ([], "no secret key"),
    ((), "no secret key"),
    ("", "no secret key"),
    ([""], "blank"),
    ([KEY, ""], "blank"),
    (" " * 20, "blank"),
    ([" " * 20], "blank"),
    ([KEY, "\t \n" * 8], "blank"),
    (["\u2003" * 20], "blank"),
    (["\ud800" + KEY], "UTF-8"),
]


@pytest.mark.parametrize(("keys", "message"), NO_KEYS)
def test_what_is_no_key_stops_the_start(keys, message):
    """Octets, numbers, nothing and blanks are refused, and no message repeats a key."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        ConsentPolicy(Registry.from_text(""), secret_keys=keys)
    assert not re.search("many letters|1234567", str(caught.value))


@pytest.mark.parametrize(
    "keys", [KEY, b"a key of many letters", [], [""], [" " * 20], [KEY, b"octets"], None]
)
def test_a_store_takes_no_such_key_either(keys):
    """Nor does the store, which programs open by themselves."""
    with pytest.raises(ConfigurationError, match="secret key"):
        KeyRing(keys)


@pytest.fixture
def from_environment(tmp_path, monkeypatch):
    """Reads a registry file with these keys in the environment."""
    path = tmp_path / "cookies.toml"
    path.write_text('presets = ["flask"]\n')
    monkeypatch.delenv("CONSENT_RECORDS", raising=False)

    def read(keys):
        monkeypatch.setenv("CONSENT_SECRET_KEYS", keys)
        return ConsentPolicy.from_file(path)

    return read


@pytest.mark.parametrize("keys", ["", " ", " \t\n "])
def test_an_empty_variable_is_no_key(from_environment, keys):
    """A variable that is set, and empty, is one that is not set."""
    with pytest.raises(ConfigurationError, match="CONSENT_SECRET_KEYS"):
        from_environment(keys)


@pytest.mark.parametrize(
    "keys",
    [
        "the-newest-key-of-all,an-older-key-than-that",
        "the-newest-key-of-all, an-older-key-than-that",
        "the-newest-key-of-all ,an-older-key-than-that",
        "the-newest-key-of-all;an-older-key-than-that",
        "'the-newest-key-of-all' 'an-older-key-than-that'",
        '"the-newest-key-of-all"',
    ],
)
def test_a_comma_between_keys_is_told(from_environment, keys):
    """Blanks separate keys: a comma, or quotes around them, become a part of the key, and that is told."""
    with pytest.warns(ConfigurationWarning, match="blanks") as caught:
        from_environment(keys)
    assert len(caught) == 1
    assert "newest-key" not in str(caught[0].message)
    assert caught[0].filename == __file__


def test_ordinary_keys_are_not_told(from_environment):
    """Keys as `keygen` makes them, one or two, bring no warning."""
    with warnings.catch_warnings(record=True, action="always") as told:
        from_environment(secrets.token_urlsafe(32))
        from_environment(f" {secrets.token_urlsafe(32)}\n{secrets.token_urlsafe(32)}")
    assert told == []


def test_a_key_given_as_an_argument_may_hold_a_comma():
    """An argument is a list already, so that a comma in a key is nothing to warn of."""
    with warnings.catch_warnings(record=True, action="always") as told:
        ConsentPolicy(Registry.from_text(""), secret_keys=["a key, of many letters"])
    assert told == []


def test_a_short_key_is_told(from_environment):
    """A key that can be guessed is told, at the line that starts the policy."""
    with pytest.warns(ConfigurationWarning, match="fewer than 16") as caught:
        from_environment("short")
    assert caught[0].filename == __file__


def test_tokens_of_an_older_key_are_counted_and_told_once(exchanges, make_policy, now, caplog):
    """The people who run the site learn that the older key is still needed, and how often."""
    keys = ["the newest key of all", "an older key than that"]
    old, policy = make_policy(secret_keys=keys[1:]), make_policy(secret_keys=keys)
    for number in range(3):
        choice = Consent(decided_at=now, version=2, purposes=["analytics"], id=str(number))
        cookie = old.consent_cookie(choice, now).partition(";")[0]
        for _ in range(2):
            assert exchanges.run_lines("_ga=1", cookie=cookie, policy=policy).cookies() == ["_ga=1"]
    mine = policy.consent_cookie(choice, now).partition(";")[0]
    exchanges.run(cookie=mine, policy=policy)
    assert policy.observations.older_key_tokens == 3
    assert caplog.text.count("an older key signed") == 1
