"""The consent token: a Consent as signed text, and back.

`payload.signature`, both base64url without padding (RFC 4648, section 5): the payload is JSON, the
signature HMAC-SHA-256 by itsdangerous with a key that is derived from the secret, a salt of this library,
the format version and the site's id. Anything else is refused, spellings of the same bits included.
"""

import hashlib
import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hmac import compare_digest

import msgspec
from itsdangerous import Signer as DangerousSigner
from itsdangerous.encoding import base64_encode

from ..errors import BadTokenError
from .consent import Consent, restored

LONGEST_READ = 4096
"""Octets above which a token is refused unread."""
LONGEST_WRITTEN = 1800
"""Octets above which a choice is coarsened before it is signed: it and deletions share 3 KiB of an answer."""

_SALT = "consent_middleware.token.v2"
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
_SIGNATURE_OCTETS = 43
"""Of 32 octets in base64, without the padding."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Payload(msgspec.Struct, omit_defaults=True):
    """What the token says; names are short because every request carries it. Times are microseconds."""

    t: int
    v: int
    p: tuple[str, ...] = ()
    gv: tuple[str, ...] = ()
    gc: tuple[str, ...] = ()
    rp: tuple[str, ...] = ()
    rv: tuple[str, ...] = ()
    rc: tuple[str, ...] = ()
    id: str | None = None
    m: int | None = None
    g: bool = False
    a: bool = True
    d: bool = False


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Payload)


class Signer:
    """Signs octets for one use with a list of keys, newest first: the first signs, all verify.

    `salt` keeps what is signed for one use from being taken for another. The keys are derived once, as
    itsdangerous derives them; what is signed is what its `Signer` would sign.
    """

    def __init__(self, secret_keys: Sequence[str], salt: str) -> None:
        signer = DangerousSigner("", salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
        keys = [signer.derive_key(key) for key in secret_keys]
        # Made once: a copy of one costs less than to begin with the key.
        self._macs = [hmac.new(key, digestmod=hashlib.sha256) for key in keys]

    def seal(self, content: bytes) -> str:
        """The signed text of some octets."""
        text = base64_encode(content)
        return (text + b"." + _signature(self._macs[0], text)).decode()

    def unseal(self, sealed: str) -> bytes:
        """The octets of a signed text; BadTokenError for what we did not sign."""
        return self.opened(sealed)[0]

    def opened(self, sealed: str) -> tuple[bytes, bool]:
        """The same, and whether the newest key signed it."""
        if len(sealed) > LONGEST_READ or not sealed.isascii():
            raise BadTokenError
        text, _, signature = sealed.encode().rpartition(b".")
        for mac in self._macs:
            # Texts are compared, so that no other spelling of the same signature verifies.
            if compare_digest(_signature(mac, text), signature):
                # Nobody but we can have made this text.
                return a2b_base64(text.translate(_FROM_URL) + b"=="), mac is self._macs[0]
        raise BadTokenError


def _signature(mac: hmac.HMAC, text: bytes) -> bytes:
    signing = mac.copy()
    signing.update(text)
    return b2a_base64(signing.digest(), newline=False)[:_SIGNATURE_OCTETS].translate(_TO_URL)


class TokenSigner:
    """Signs and verifies tokens with a list of keys, newest first."""

    def __init__(self, secret_keys: Sequence[str], site_id: str) -> None:
        self._sealer = Signer(secret_keys, f"{_SALT}.{site_id}")

    def sign(self, consent: Consent) -> str:
        """The token of a choice. One that granted nothing carries no id that could follow the visitor."""
        payload = _Payload(
            t=_micros(consent.decided_at),
            v=consent.version,
            p=consent.purposes,
            gv=consent.granted_vendors,
            gc=consent.granted_cookies,
            rp=consent.refused_purposes,
            rv=consent.refused_vendors,
            rc=consent.refused_cookies,
            id=consent.id if consent.grants else None,
            m=None if consent.measured_since is None else _micros(consent.measured_since),
            g=consent.gpc,
            a=consent.asked,
            d=consent.dnt,
        )
        return self._sealer.seal(_encoder.encode(payload))

    def verify(self, token: str) -> Consent:
        """The choice that a token holds, whatever its age; BadTokenError for what we did not sign."""
        return self.verified(token)[0]

    def verified(self, token: str) -> tuple[Consent, bool]:
        """The same, and whether the newest key signed it."""
        text, newest = self._sealer.opened(token)
        try:
            return _consent(_decoder.decode(text)), newest
        except (ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise BadTokenError from error


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _consent(payload: _Payload) -> Consent:
    return restored(
        _EPOCH + payload.t * _MICROSECOND,
        payload.v,
        payload.p,
        payload.gv,
        payload.gc,
        payload.rp,
        payload.rv,
        payload.rc,
        payload.id,
        None if payload.m is None else _EPOCH + payload.m * _MICROSECOND,
        payload.g,
        payload.a,
        payload.d,
    )
