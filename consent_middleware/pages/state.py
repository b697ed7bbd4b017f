"""What holds for a visitor, as JSON: for scripts of the site and for apps."""

from typing import Any

from ..exchange import Exchange
from ..records.event import to_rfc3339


def state_of(exchange: Exchange, *, with_token: bool) -> dict[str, Any]:
    """The state of the visitor behind `exchange`.

    `gated` names the vendors whose hosts a page cannot reach without consent. `with_token` is for who keeps
    the choice itself, instead of a cookie.
    """
    view, compiled, gate = exchange.view, exchange.compiled, exchange.engine.gate
    registry, permissions = compiled.registry, view.permissions
    decided_at = expires_at = None
    if view.decided and view.consent:
        decided_at, expires_at = map(to_rfc3339, (view.consent.decided_at, compiled.ends(view.consent)))
    state: dict[str, Any] = {
        "decided": view.decided,
        "purposes": {id: permissions.allows(id) for id in registry.purposes},
        "vendors": {id: permissions.allows_vendor(id) for id in registry.vendors},
        "cookies": {rule.name: permissions.allows_rule(rule) for rule in registry.cookies},
        "decided_at": decided_at,
        "expires_at": expires_at,
        "version": registry.version,
        "ask": view.ask,
        "model": exchange.model,
        "gated": gate.gated_vendors if gate.mode == "enforce" else (),
    }
    if with_token and view.consent:
        state["token"] = exchange.policy.token(view.consent)
    return state
