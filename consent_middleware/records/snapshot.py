"""What a visitor was told, as one text with one hash.

The hash binds an offer and a record to a registry without repeating it. It is content-addressed: the
same registry gives the same hash on every machine and in every process, and a changed text gives another.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from ..core.periods import Period
from ..core.registry import CookieRule, LocalizedText, Purpose, Registry, Site, Vendor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A registry as it was shown: `body` is canonical JSON, `hash` its SHA-256 in hexadecimal."""

    hash: str
    body: str

    @classmethod
    def of_body(cls, body: str) -> "Snapshot":
        """The snapshot whose text is `body`."""
        return cls(hashlib.sha256(body.encode()).hexdigest(), body)

    @property
    def content(self) -> dict[str, Any]:
        """The text as JSON values."""
        content: dict[str, Any] = msgspec.json.decode(self.body)
        return content


def snapshot_of(registry: Registry, templates_hash: str) -> Snapshot:
    """Everything that this registry tells a visitor, and the hash of the templates that show it.

    Settings that change no promise (cookie name, paths, request handling) are left out, so that turning
    them makes no new snapshot.
    """
    settings = registry.consent
    content = {
        "format": 1,
        "version": registry.version,
        "site": _plain(registry.site),
        "purposes": [_plain(purpose) for purpose in registry.purposes.values()],
        "vendors": [_plain(vendor) for vendor in registry.vendors.values()],
        "cookies": [_plain(rule) for rule in registry.cookies],
        "lifetime": settings.lifetime.text,
        "refusal_lifetime": settings.refusal_lifetime.text,
        "max_lifetime": settings.max_lifetime.text,
        "acceptance": settings.acceptance,
        "model": settings.model,
        "gpc": settings.gpc,
        "dnt": settings.dnt,
        "retention": registry.records.retention.text,
        "templates": templates_hash,
    }
    return Snapshot.of_body(msgspec.json.encode(content, order="sorted").decode())


def _plain(value: Any) -> Any:
    """A value of the registry as JSON values: texts become tables from language to wording."""
    match value:
        case LocalizedText():
            return dict(value.wordings)
        case Period():
            return value.text
        case date():
            return value.isoformat()
        case tuple():
            return [_plain(item) for item in value]
        case Site() | Purpose() | Vendor() | CookieRule():
            return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return value
