"""The keys that make records and seals tamper-evident."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from ..errors import ConfigurationError

_DERIVATION = b"consent_middleware.records/1"
_HINT = "give secret_keys, or set CONSENT_SECRET_KEYS (consent-middleware keygen makes one)"
_WRONG_TYPE = f"a secret key must be text, and several a list, newest first: {_HINT}"

T = TypeVar("T")


def read_json(text: str, type: type[T]) -> T:
    """Read what anybody may have written; ValueError if it is not of this type, however deep it is nested."""
    try:
        return msgspec.json.decode(text, type=type)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def checked_secrets(keys: object) -> list[str]:
    """The secret keys that a site gives, newest first. ConfigurationError if they cannot be such."""
    if keys in (None, ""):
        keys = ()
    given = [keys] if isinstance(keys, str) else keys
    if not isinstance(given, Sequence):
        raise ConfigurationError(_WRONG_TYPE)
    if not given:
        raise ConfigurationError(f"no secret key to sign consent with: {_HINT}")
    return [_checked_secret(key) for key in given]


def _checked_secret(key: object) -> str:
    if not isinstance(key, str):
        raise ConfigurationError(_WRONG_TYPE)
    if not key.strip():
        raise ConfigurationError(f"a secret key is empty or blank: {_HINT}")
    if not _is_encodable(key):
        raise ConfigurationError(f"a secret key must be text that UTF-8 can encode: {_HINT}")
    return key


def _is_encodable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


class KeyRing:
    """MACs (HMAC-SHA-256, RFC 2104) under keys derived from the site's secrets, newest first.

    The first key signs, all verify. A key id tells which key made a MAC; it is a hash of the derived
    key, so that it says nothing about the secret.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if isinstance(secrets, str):
            raise ConfigurationError("the record store takes its secret keys as a list, newest first")
        derived = [hmac.digest(key.encode(), _DERIVATION, "sha256") for key in checked_secrets(secrets)]
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: key for key in derived}
        self.signing = next(iter(self._keys))
        """The id of the key that signs."""

    def sign(self, content: bytes) -> str:
        """The MAC of `content` under the newest key, as 64 hexadecimal digits."""
        return hmac.digest(self._keys[self.signing], content, "sha256").hex()

    def verifies(self, content: bytes, key_id: str, mac: str) -> bool | None:
        """Whether `mac` is that of `content` under the key named; None if that key is not known here."""
        key = self._keys.get(key_id)
        if key is None:
            return None
        return hmac.compare_digest(hmac.digest(key, content, "sha256").hex().encode(), mac.encode())
