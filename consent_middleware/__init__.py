"""Cookie consent, enforced where the cookie is born."""

from .core.consent import Consent
from .core.verdict import Action, Decision, Reason
from .policy import ConsentPolicy
from .registry_file import Registry
from .request import RequestConsent, get_consent

__all__ = [
    "Action",
    "Consent",
    "ConsentPolicy",
    "Decision",
    "Reason",
    "Registry",
    "RequestConsent",
    "get_consent",
]
