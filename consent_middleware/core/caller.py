"""Who may choose: what keeps other sites, and other hosts of this one, from answering for a visitor.

Browsers say where a request comes from (Fetch Metadata, `Sec-Fetch-Site`; RFC 6454, `Origin`), and no page
can make them say otherwise, so no secret is needed in forms.
"""

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Caller(NamedTuple):
    """What a request says about where it comes from; "" for a field that it does not have."""

    site: str
    """`Sec-Fetch-Site`."""
    origin: str
    host: str
    has_cookies: bool
    sends_json: bool
    """Whether the body is JSON, which a form of another site cannot send."""

    def is_native(self) -> bool:
        """Whether no browser sent this, as far as one can see: an app, with nothing of a browser's on it."""
        return self.sends_json and not (self.site or self.origin or self.has_cookies)

    def why_not(self, origins: Collection[str]) -> str:
        """Why a choice from here is not the visitor's own: the header that decides; "" if it is.

        `origins` are the other origins that the registry names. They come without credentials.
        """
        if self.sends_json and self.origin in origins and not self.has_cookies:
            return ""
        if self.site:
            return "" if self.site == "same-origin" else f"Sec-Fetch-Site is {self.site[:40]!r}"
        if self.origin:
            same = self._is_same_host()
            return "" if same else f"Origin is {self.origin[:80]!r}, and Host {self.host[:80]!r}"
        return "" if self.is_native() else "there is neither Sec-Fetch-Site nor Origin"

    def _is_same_host(self) -> bool:
        # Schemes are not compared: a proxy that ends TLS leaves the server with http.
        try:
            origin = urlsplit(self.origin)
            port = _DEFAULT_PORTS[origin.scheme]
        except (ValueError, KeyError):
            return False
        return bool(origin.netloc) and _authority(origin.netloc, port) == _authority(self.host, port)


def _authority(text: str, default_port: str) -> str:
    return text.lower().removesuffix(default_port)
