"""What tells devices, places and interests apart: client hints, features and advertising headers."""

from .structured_fields import dictionary, without_members


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HINTS = _names(
    "ua-arch ua-bitness ua-form-factors ua-full-version ua-full-version-list ua-model ua-platform-version"
    " ua-wow64 device-memory dpr viewport-height viewport-width width downlink ect rtt"
)
DEVICE_HINTS = frozenset(f"sec-ch-{hint}" for hint in _HINTS) | {h for h in _HINTS if not h.startswith("ua-")}
"""Client hints that tell devices apart, by their present and former names; not those that are always sent."""

LOCATION_HEADERS = _names(
    "geolocation sec-ch-geolocation"
    # What servers in front add from the address, where it is finer than the region.
    " cf-ipcity cf-iplatitude cf-iplongitude cf-metro-code cf-postal-code"
    " cloudfront-viewer-city cloudfront-viewer-latitude cloudfront-viewer-longitude"
    " cloudfront-viewer-metro-code cloudfront-viewer-postal-code"
    " x-appengine-city x-appengine-citylatlong"
    " x-vercel-ip-city x-vercel-ip-latitude x-vercel-ip-longitude x-vercel-ip-postal-code"
)
"""Request headers that say where the visitor is."""

ADVERTISING_REQUEST_HEADERS = _names(
    "attribution-reporting-eligible attribution-reporting-support sec-ad-auction-fetch sec-browsing-topics"
    " sec-shared-storage-writable"
)
ADVERTISING_RESPONSE_HEADERS = _names(
    "activate-storage-access ad-auction-additional-bid ad-auction-allowed ad-auction-only ad-auction-result"
    " ad-auction-result-nonce ad-auction-signals attribution-reporting-info"
    " attribution-reporting-register-os-source attribution-reporting-register-os-trigger"
    " attribution-reporting-register-source attribution-reporting-register-trigger observe-browsing-topics"
    " shared-storage-write"
)

DEVICE_FEATURES = (
    "geolocation",
    "accelerometer",
    "gyroscope",
    "magnetometer",
    "compute-pressure",
    "idle-detection",
    "local-fonts",
    "ch-ua-high-entropy-values",
)
ADVERTISING_FEATURES = ("browsing-topics",)

# Browsers complain in the console of features unknown to them, on every page: what has been withdrawn, or is
# behind a flag, is shut only where the app names it.
_DEVICE_FEATURES_IF_NAMED = frozenset(f"ch-{hint}" for hint in _HINTS) | {"ambient-light-sensor", "battery"}
_ADVERTISING_FEATURES_IF_NAMED = _names(
    "attribution-reporting interest-cohort join-ad-interest-group private-aggregation run-ad-auction"
    " shared-storage shared-storage-select-url"
)


def fewer_hints(value: str) -> str | None:
    """An Accept-CH or Critical-CH value without the hints that tell devices apart; None if none remain."""
    return without_members(
        value, lambda part: part.partition(";")[0].strip(" \t").lower() not in DEVICE_HINTS
    )


def shut_features(values: list[str], *, device: bool, advertising: bool) -> str:
    """A Permissions-Policy in which the features that would reveal the device or serve advertising are shut.

    One line: the field is a dictionary over all its lines (RFC 9651, section 4.2), and where browsers discard
    the app's for a mistake they would discard ours with it.
    """
    shut = (DEVICE_FEATURES if device else ()) + (ADVERTISING_FEATURES if advertising else ())
    named = (_DEVICE_FEATURES_IF_NAMED if device else frozenset()) | (
        _ADVERTISING_FEATURES_IF_NAMED if advertising else frozenset()
    )
    pairs = dictionary(", ".join(values)) or []
    asked = dict.fromkeys(shut) | dict.fromkeys(key for key, _ in pairs if key in named)
    return ", ".join([*(text for key, text in pairs if key not in asked), *(f"{key}=()" for key in asked)])
