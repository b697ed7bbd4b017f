"""Consent as the scripts of vendors take it: Google Consent Mode v2, Microsoft UET and Matomo.

Each is told that nothing is granted, then at once what this visitor grants; what is granted later is told
by the script of the banner. A signal is the page's and not a vendor's: where several vendors list it, it
is granted when each of them is allowed, so that none is let in by the consent given to another.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ..core.registry import Registry

Vendors = Mapping[str, Sequence[str]]
"""From a signal to the vendors that must be allowed for it."""

_SECURITY = "security_storage"
_DEFAULT = {
    "ad_storage": "denied",
    "ad_user_data": "denied",
    "ad_personalization": "denied",
    "analytics_storage": "denied",
    "functionality_storage": "denied",
    "personalization_storage": "denied",
    _SECURITY: "granted",
}


def consent_mode(
    registry: Registry,
    allows: Callable[[str], bool],
    *,
    nonce: str = "",
    microsoft: str = "",
    matomo: str = "",
) -> Markup:
    """One script element, to stand before any tag; nothing where no vendor has a consent mode.

    Google's commands are there if a vendor has `google_consent`; `microsoft` and `matomo` are the ids of
    the vendors whose UET tag or Matomo the page uses.
    """
    commands: list[str] = []
    waiting: dict[str, Vendors] = {}
    for mode, vendors in _modes(registry, microsoft, matomo).items():
        waiting[mode] = {signal: ids for signal, ids in vendors.items() if not all(map(allows, ids))}
        granted = [signal for signal in vendors if signal not in {*waiting[mode], _SECURITY}]
        commands += _COMMANDS[mode](dict.fromkeys(granted, "granted"))
    return _script(commands, waiting, nonce) if commands else Markup()


def _modes(registry: Registry, microsoft: str, matomo: str) -> dict[str, Vendors]:
    """The signals of each consent mode that the page uses."""
    signals: dict[str, Vendors] = {"google": _google(registry)}
    if microsoft:
        signals["microsoft"] = {"ad_storage": [microsoft]}
    if matomo:
        signals["matomo"] = {"cookies": [matomo]}
    return {mode: vendors for mode, vendors in signals.items() if vendors}


def _google(registry: Registry) -> Vendors:
    vendors: dict[str, list[str]] = {}
    for vendor in registry.vendors.values():
        for signal in vendor.google_consent:
            vendors.setdefault(signal, []).append(vendor.id)
    return vendors


def _say_google(granted: Mapping[str, str]) -> list[str]:
    # An array in the queue is passed over in silence: it has to be the arguments object of a call.
    return [
        "window.dataLayer = window.dataLayer || [];",
        "function gtag(){dataLayer.push(arguments)}",
        f"gtag('consent', 'default', {_json(_DEFAULT)});",
        *([f"gtag('consent', 'update', {_json(granted)});"] if granted else []),
    ]


def _say_microsoft(granted: Mapping[str, str]) -> list[str]:
    return [
        "window.uetq = window.uetq || [];",
        "window.uetq.push('consent', 'default', {\"ad_storage\": \"denied\"});",
        *([f"window.uetq.push('consent', 'update', {_json(granted)});"] if granted else []),
    ]


def _say_matomo(granted: Mapping[str, str]) -> list[str]:
    return [
        "window._paq = window._paq || [];",
        "window._paq.push(['requireCookieConsent']);",
        *(["window._paq.push(['setCookieConsentGiven']);"] if granted else []),
    ]


_COMMANDS: Mapping[str, Callable[[Mapping[str, str]], list[str]]] = {
    "google": _say_google,
    "microsoft": _say_microsoft,
    "matomo": _say_matomo,
}


def _json(value: Mapping[str, Any]) -> str:
    """JSON in which no text can end the script element."""
    return str(htmlsafe_json_dumps(value))


def _script(commands: Sequence[str], waiting: Mapping[str, Vendors], nonce: str) -> Markup:
    shown = Markup(' nonce="{}"').format(nonce) if nonce else ""
    code = Markup("\n".join(commands))  # noqa: S704 - made of constants and of JSON without `<`
    return Markup('<script{} data-consent-signals="{}">\n{}\n</script>').format(
        shown, json.dumps(waiting), code
    )
