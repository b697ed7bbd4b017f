"""The offer: a signed statement of what a visitor was shown, which comes back with the answer.

It binds an answer to the wording and the registry that it was given to. It names nobody and keeps no
other site out (`origin` does that), so anybody may have any number of them.
"""

from datetime import datetime

import msgspec

from ..core.consent import SKEW
from ..errors import BadTokenError
from ..policy import ConsentPolicy
from ..records.event import Offer

_decoder = msgspec.json.Decoder(Offer)


def make_offer(policy: ConsentPolicy, language: str, layout: str) -> str:
    """The statement that this registry is being shown now."""
    offer = Offer(
        snapshot=policy.snapshot.hash,
        asked=policy.compiled.asked_digest,
        version=policy.registry.version,
        language=language,
        layout=layout,
        shown_at=policy.clock(),
    )
    return policy.offers.seal(msgspec.json.encode(offer))


def read_offer(policy: ConsentPolicy, text: str, now: datetime) -> Offer | None:
    """What was shown, None for anything on which no consent can rest.

    An offer does not age. It is good while the same is asked about: a wording that changed meanwhile is in
    its snapshot, and where records are kept that must be at hand, or nothing would be proven.
    """
    try:
        offer = _decoder.decode(policy.offers.unseal(text))
    except (BadTokenError, msgspec.MsgspecError):
        return None
    if offer.shown_at > now + SKEW or offer.asked != policy.compiled.asked_digest:
        return None
    return offer if _is_provable(policy, offer) else None


def _is_provable(policy: ConsentPolicy, offer: Offer) -> bool:
    if policy.records is None or offer.snapshot == policy.snapshot.hash:
        return True
    return policy.records.has_snapshot(offer.snapshot)
