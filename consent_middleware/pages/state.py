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
    made = view.consent if view.decided else None
    state: dict[str, Any] = {
        "decided": view.decided,
        "purposes": {id: permissions.allows(id) for id in registry.purposes},
        "vendors": {id: permissions.allows_vendor(id) for id in registry.vendors},
        "cookies": {rule.name: permissions.allows_rule(rule) for rule in registry.cookies},
        "decided_at": to_rfc3339(made.decided_at) if made else None,
        "expires_at": to_rfc3339(compiled.ends(made)) if made else None,
        "version": registry.version,
        "ask": view.ask,
        "model": exchange.model,
        "gated": gate.gated_vendors if gate.mode == "enforce" else (),
    }
    if with_token and view.consent:
        state["token"] = exchange.policy.token(view.consent)
    return state
