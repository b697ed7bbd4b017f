"""What tells devices, places and interests apart: client hints, features and advertising headers."""

from collections.abc import Callable
from functools import lru_cache, reduce
from typing import NamedTuple

from .structured_fields import dictionary, without_members


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HINTS = _names(
    "ua-arch ua-bitness ua-form-factors ua-full-version ua-full-version-list ua-model ua-platform-version"
    " ua-wow64 device-memory dpr viewport-height viewport-width width downlink ect rtt"
)
_DEVICE_HINTS = frozenset(f"sec-ch-{hint}" for hint in _HINTS) | {
    hint for hint in _HINTS if not hint.startswith("ua-")
}
"""Client hints that tell devices apart, by their present and former names; not those that are always sent."""

_LOCATION_HEADERS = _names(
    "geolocation sec-ch-geolocation"
    # What servers in front add from the address, where it is finer than the region.
    " cf-ipcity cf-iplatitude cf-iplongitude cf-metro-code cf-postal-code"
    " cloudfront-viewer-city cloudfront-viewer-latitude cloudfront-viewer-longitude"
    " cloudfront-viewer-metro-code cloudfront-viewer-postal-code"
    " x-appengine-city x-appengine-citylatlong"
    " x-vercel-ip-city x-vercel-ip-latitude x-vercel-ip-longitude x-vercel-ip-postal-code"
)
"""Request headers that say where the visitor is."""

_DEVICE_FEATURES = (
    *("geolocation", "accelerometer", "gyroscope", "magnetometer", "compute-pressure", "idle-detection"),
    *("local-fonts", "ch-ua-high-entropy-values"),
)


def _fewer_hints(value: str) -> str | None:
    """An Accept-CH or Critical-CH value without the hints that tell devices apart; None if none remain."""
    return without_members(
        value, lambda part: part.partition(";")[0].strip(" \t").lower() not in _DEVICE_HINTS
    )


class Disclosure(NamedTuple):
    """What tells of a visitor, by the fields and features that carry it. Names are in lower case."""

    request_fields: frozenset[str]
    response_fields: dict[str, Callable[[str], str | None]]
    """With what may leave of a value, None for nothing."""
    features: tuple[str, ...]
    features_if_named: frozenset[str]
    """Features that are shut only where the app names them."""


_NOTHING = Disclosure(frozenset(), {}, (), frozenset())
# Browsers complain in the console of features unknown to them, on every page: what has been withdrawn, or is
# behind a flag, is shut only where the app names it.
_BY_PURPOSE = {
    "device": Disclosure(
        _DEVICE_HINTS | _LOCATION_HEADERS,
        dict.fromkeys(("accept-ch", "critical-ch"), _fewer_hints),
        _DEVICE_FEATURES,
        frozenset(f"ch-{hint}" for hint in _HINTS) | {"ambient-light-sensor", "battery"},
    ),
    "advertising": Disclosure(
        _names(
            "attribution-reporting-eligible attribution-reporting-support sec-ad-auction-fetch"
            " sec-browsing-topics sec-shared-storage-writable"
        ),
        dict.fromkeys(
            _names(
                "activate-storage-access ad-auction-additional-bid ad-auction-allowed ad-auction-only"
                " ad-auction-result ad-auction-result-nonce ad-auction-signals attribution-reporting-info"
                " attribution-reporting-register-os-source attribution-reporting-register-os-trigger"
                " attribution-reporting-register-source attribution-reporting-register-trigger"
                " observe-browsing-topics shared-storage-write"
            ),
            lambda _: None,
        ),
        ("browsing-topics",),
        _names(
            "attribution-reporting interest-cohort join-ad-interest-group private-aggregation run-ad-auction"
            " shared-storage shared-storage-select-url"
        ),
    ),
}
DISCLOSING = frozenset(_BY_PURPOSE)
"""The purposes without which something is not disclosed."""


@lru_cache(4)
def disclosed_for(purposes: frozenset[str]) -> Disclosure:
    """All that is disclosed for these purposes alone, and closes with them."""
    return reduce(_both, (part for purpose, part in _BY_PURPOSE.items() if purpose in purposes), _NOTHING)


def _both(one: Disclosure, other: Disclosure) -> Disclosure:
    return Disclosure(
        one.request_fields | other.request_fields,
        one.response_fields | other.response_fields,
        one.features + other.features,
        one.features_if_named | other.features_if_named,
    )


def shut_features(values: list[str], closed: Disclosure) -> str:
    """A Permissions-Policy in which the features of what is closed are shut.

    One line: the field is a dictionary over all its lines (RFC 9651, section 4.2), and where browsers discard
    the app's for a mistake they would discard ours with it.
    """
    pairs = dictionary(", ".join(values)) or []
    named = (key for key, _ in pairs if key in closed.features_if_named)
    shut = dict.fromkeys((*closed.features, *named))
    return ", ".join([*(text for key, text in pairs if key not in shut), *(f"{key}=()" for key in shut)])
