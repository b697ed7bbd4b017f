"""Who may choose, and where a form may lead: what keeps other sites from answering for a visitor.

Browsers say where a request comes from (Fetch Metadata, `Sec-Fetch-Site`; RFC 6454, `Origin`), and no page
can make them say otherwise, so no secret is needed in forms.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LONGEST_PATH = 2048
_MOST_STAGES = 8
_UNSAFE = re.compile(r"\\|//")
_END_OF_PATH = re.compile(r"[?#]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a request says about where it comes from; "" for a field that it does not have."""

    site: str
    """`Sec-Fetch-Site`."""
    origin: str
    host: str
    has_cookies: bool

    def is_native(self) -> bool:
        """Whether no browser sent this, as far as one can see: an app, with nothing of a browser's on it."""
        return not (self.site or self.origin or self.has_cookies)

    def is_allowed(self, origins: Collection[str]) -> bool:
        """Whether this is another origin that the registry names. It comes without credentials."""
        return self.origin in origins and not self.has_cookies

    def may_choose(self, origins: Collection[str], *, json: bool) -> bool:
        """Whether a choice from here is the visitor's own; `origins` are those that the registry names."""
        if json and self.is_allowed(origins):
            return True
        if self.site:
            return self.site == "same-origin"
        if self.origin:
            return self._is_same_host()
        return json and not self.has_cookies

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


def path_of_this_host(text: str) -> str | None:
    r"""`text` if a browser that is sent there stays on this host; None for anything that might leave it.

    Browsers take `//`, `/\` and backslashes for the start of a host and skip tabs and line breaks (WHATWG
    URL, "basic URL parser"); what lies between may decode once more than we do. So the path is looked at in
    every stage of decoding, and one that has more of them than anything decodes is refused.
    """
    if not text.startswith("/") or len(text) > _LONGEST_PATH:
        return None
    seen = text
    for _ in range(_MOST_STAGES):
        if _UNSAFE.search(_END_OF_PATH.split(seen, 1)[0]) or _CONTROL.search(seen):
            return None
        decoded = unquote(seen)
        if decoded == seen:
            return text
        seen = decoded
    return None
