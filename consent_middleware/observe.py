"""What was decided, told to the people who run the site: once each, and never a cookie's value."""

import logging
from functools import lru_cache

from .core.enforcement import Action, Decision, Reason

logger = logging.getLogger("consent_middleware")

_ADVICE = {
    Reason.UNDECLARED: 'declare it in the registry: [[cookies]] name = {name}, purpose = "…"',
    Reason.NOT_ASKED: "it leaves once the visitor agrees to {purpose}",
    Reason.REFUSED: "the visitor refused it or its purpose, {purpose}",
    Reason.NAMELESS: "give it a name; browsers return a nameless cookie as if its value were name and value",
    Reason.MALFORMED: "it holds control characters or a name that browsers read differently",
    Reason.TOO_LARGE: "browsers take 4096 octets for name and value",
    Reason.PREFIX: "its name's prefix demands Secure, and for __Host- also Path=/ and no Domain",
    Reason.FORGED: "this is the name of the consent cookie; set it by ConsentPolicy.consent_cookie() alone",
}
_LONGEST_NAME = 100


class DecisionLog:
    """Logs each drop once per name and reason."""

    def __init__(self, *, observing: bool) -> None:
        self._verb = "would be dropped" if observing else "dropped"
        # Apps can make up names without end: the memory of what was said is bounded.
        self._say_once = lru_cache(1024)(self._say)

    def note(self, decision: Decision) -> None:
        """Take notice of a decision."""
        if decision.action is Action.DROP:
            purpose = decision.rule.purpose if decision.rule else ""
            self._say_once(decision.name[:_LONGEST_NAME], decision.reason, purpose)

    def _say(self, name: str, reason: Reason, purpose: str) -> None:
        advice = _ADVICE.get(reason, "").format(name=f'"{name}"', purpose=purpose)
        logger.warning("Set-Cookie %r %s: %s; %s", name, self._verb, reason.value, advice)
