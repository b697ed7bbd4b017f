"""Ours in a site's own pages: what the template calls of the integrations are made of."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec

from markupsafe import Markup

from ..errors import ConsentStateError
from ..exchange import exchange_of
from ..observe import Log, logger
from ..request import RequestConsent, unknown_ids
from . import banner, cookie_policy
from .consent_mode import consent_mode
from .tag import TagError, tag
from .visit import Visit, page_request

Call = ParamSpec("Call")
_MOST_TOLD = 64
_told: set[str] = set()
_log = Log(lambda: datetime.now(UTC))


def template_call(make: Callable[Call, Markup]) -> Callable[Call, Markup]:
    """A template call that never raises: a page of the site does without what we cannot make.

    The log says why: once for a mistake that is in the site's own code.
    """

    @wraps(make)
    def call(*args: Call.args, **kwargs: Call.kwargs) -> Markup:
        try:
            return make(*args, **kwargs)
        except (ConsentStateError, TagError) as error:
            _tell_once(f"{make.__name__.strip('_')}: {error}")
        except Exception as error:  # noqa: BLE001 - promised: our failure is not the page's
            _log.failure("a part of a page could not be made: it is left out", error)
        return Markup()

    return call


def _tell_once(mistake: str) -> None:
    if mistake not in _told and len(_told) < _MOST_TOLD:
        _told.add(mistake)
        logger.error("a template call is left out: %s", mistake)


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
        vendors = self._exchange.policy.registry.vendors
        if vendor not in vendors:
            unknown_ids.tell("vendor", vendor, vendors)
            return False
        return RequestConsent(self._exchange).allows_vendor(vendor)
