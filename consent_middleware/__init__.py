"""Cookie consent, enforced where the cookie is born.

Public are these names, `ConsentMiddleware` in `consent_middleware.asgi` and `.wsgi`, and the modules of
`consent_middleware.integrations`. Everything else is internal and may change in any release.
"""

from .core.consent import Consent
from .core.periods import Period
from .core.registry import (
    Basis,
    ConsentSettings,
    CookieRule,
    Gating,
    LocalizedText,
    Purpose,
    RecordSettings,
    Site,
    Vendor,
)
from .core.verdict import Action, Decision, Reason
from .errors import (
    ConfigurationError,
    ConfigurationWarning,
    ConsentError,
    ConsentStateError,
    Mistake,
    RecordStoreError,
    RegistryError,
    RegistryWarning,
)
from .policy import ConsentPolicy
from .registry_file import Registry
from .request import RequestConsent, get_consent

__all__ = [
    "Action",
    "Basis",
    "ConfigurationError",
    "ConfigurationWarning",
    "Consent",
    "ConsentError",
    "ConsentPolicy",
    "ConsentSettings",
    "ConsentStateError",
    "CookieRule",
    "Decision",
    "Gating",
    "LocalizedText",
    "Mistake",
    "Period",
    "Purpose",
    "Reason",
    "RecordSettings",
    "RecordStoreError",
    "Registry",
    "RegistryError",
    "RegistryWarning",
    "RequestConsent",
    "Site",
    "Vendor",
    "get_consent",
]
