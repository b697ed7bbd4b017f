"""Ours in a site's own pages: what the template calls of the integrations are made of."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ..errors import ConsentStateError
from ..exchange import exchange_of
from ..request import RequestConsent
from . import banner, cookie_policy
from .consent_mode import consent_mode
from .tag import tag
from .visit import Visit, page_request


class Embedded:
    """The parts for one request, given as a WSGI environ. ConsentStateError if the app is not wrapped."""

    def __init__(self, environ: Mapping[str, Any], target: Mapping[str, Any] | None = None) -> None:
        self._request = page_request(environ)
        self._exchange = exchange_of(environ if target is None else target)

    def _visit(self, lang: str) -> Visit:
        return Visit(self._request, self._exchange, lang)

    def banner(self, layout: str = "sticky", lang: str = "") -> Markup:
        """The banner if this visitor is to be asked; first thing in the body. See `banner.banner`."""
        return banner.banner(self._visit(lang), layout)

    def settings_link(self, lang: str = "") -> Markup:
        """The link "Cookie settings"."""
        return banner.settings_link(self._visit(lang))

    def policy(self, lang: str = "") -> Markup:
        """The cookie policy as a part of a page."""
        return cookie_policy.block(self._visit(lang).presentation)

    def consent_mode(self, nonce: str = "", microsoft: str = "", matomo: str = "") -> Markup:
        """What the scripts of vendors are told; before any of them. See `consent_mode.consent_mode`."""
        registry = self._exchange.policy.registry
        return consent_mode(registry, self._allows, nonce=nonce, microsoft=microsoft, matomo=matomo)

    def tag(
        self, vendor: str, src: str, kind: str = "script", nonce: str = "", **attributes: object
    ) -> Markup:
        """A vendor's script, iframe or img: itself with consent, else one that waits. See `tag.tag`."""
        return tag(vendor, src, kind, {**attributes, "nonce": nonce or None}, awake=self._allows(vendor))

    def _allows(self, vendor: str) -> bool:
        if vendor not in self._exchange.policy.registry.vendors:
            raise ConsentStateError(f"the registry has no vendor {vendor!r}")
        return RequestConsent(self._exchange).allows_vendor(vendor)
