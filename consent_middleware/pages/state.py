"""What holds for a visitor, as JSON: for scripts of the site and for apps."""

from typing import Any

from ..exchange import Exchange
from ..records.event import stamp


def state_of(exchange: Exchange, offer: str, *, with_token: bool) -> dict[str, Any]:
    """The state of the visitor behind `exchange`; `offer` is what an answer to it must bring back.

    `with_token` is for who keeps the choice itself, instead of a cookie.
    """
    standing, registry, free = exchange.standing, exchange.policy.registry, not exchange.needed
    made = standing.consent if standing.decided else None
    state: dict[str, Any] = {
        "decided": standing.decided,
        "purposes": {id: free or standing.allows(id) for id in registry.purposes},
        "vendors": {id: free or standing.allows_vendor(id) for id in registry.vendors},
        "cookies": {rule.name: free or standing.allows_rule(rule) for rule in registry.cookies},
        "decided_at": stamp(made.decided_at) if made else None,
        "expires_at": stamp(exchange.terms.grants_end(made)) if made else None,
        "version": registry.version,
        "ask": standing.ask and not free,
        "offer": offer,
    }
    if with_token and standing.consent:
        state["token"] = exchange.policy.token(standing.consent)
    return state
