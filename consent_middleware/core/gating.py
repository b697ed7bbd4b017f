"""Third parties and the device: what the headers of a response let a browser reach and reveal.

A server cannot filter another server's cookies, but it can keep the browser from going there. With `[gating]
mode = "enforce"` a page loads only from itself, from the hosts of `[site]` and `[gating] allow`, and from
the vendors that its visitor allows. The most specific declaration of a host says whose it is: where one
vendor has `*.example.com` and another `cdn.example.com`, the latter is the second one's alone. If several
declare the same, each must be allowed; and since a policy cannot subtract, an allowed `*.example.com` stays
closed while a host below it is refused. `allow` and the site's own hosts are open whatever the vendors say.

With `mode = "report"` a page gets the same policy in its reporting form and nothing else changes, also where
no vendor has a host yet: it is how the hosts are found. The policy is everybody's then, and caches may keep
the page; once a vendor has a host, it tells what a visitor allows. `enforce` gates nothing until one has, for
then no choice of a visitor could open anything.

What a browser may read and we cannot does not leave.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import filterfalse
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from ..errors import ConfigurationError
from .csp import HostPattern, Hosts, load_policy, narrowed
from .device_headers import DISCLOSING, Disclosure, disclosed_for, shut_features
from .permissions import Permissions
from .registry import LONGEST_REMEMBERED, Registry
from .structured_fields import dictionary, loaded_by_link, string_item, strings, without_members

Headers = Sequence[tuple[str, str]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DOCUMENTS = frozenset({"text/html", "application/xhtml+xml"})
_SNIFFED = frozenset({"*/*", "unknown/unknown", "application/unknown"})
# Of the multipart type each part has a type of its own.
_CODE = re.compile(
    r"(?:text|application)/(?:x-)?(?:java|ecma|live|j)script[0-9.]*|(?:text|application)/xml|.*\+xml|text/xsl"
    r"|multipart/x-mixed-replace"
)
# Browsers read a type up to any of these, whatever follows, so that `text/html charset=utf-8` is HTML.
_END_OF_TYPE = re.compile(r"[\s;(]")
_WORKER_DESTINATIONS = frozenset({"serviceworker", "sharedworker", "worker"})
_DOCUMENT_DESTINATIONS = _WORKER_DESTINATIONS | {
    "",
    "document",
    "embed",
    "fencedframe",
    "frame",
    "iframe",
    "object",
}


def makes_document(content_types: tuple[str, ...], destination: str) -> bool:
    """Whether a browser enforces the policy of a response of this type.

    That is so for documents and for the scripts of workers (HTML, sections 7.5.1 and 10.2.4). HTML counts
    however it was asked for, since a service worker or the browser's cache may show later what a script
    fetched. XML (so SVG), scripts, and what a browser has to sniff (MIME Sniffing, section 7) count unless
    `destination`, the `Sec-Fetch-Dest` of the request, says that it is for something else, such as an image
    or a script element.
    """
    short = sum(map(len, content_types)) + len(destination) <= LONGEST_REMEMBERED
    return (_known_types if short else _read_types)(content_types, destination)


def _read_types(content_types: tuple[str, ...], destination: str) -> bool:
    """The same for types that were not seen lately."""
    parts = [part.strip().lower() for part in ",".join(content_types).split(",")]
    types = {part.partition(";")[0].rstrip() for part in parts}
    types |= {_END_OF_TYPE.split(part, maxsplit=1)[0] for part in parts}
    if types & _DOCUMENTS:
        return True
    return any(map(_is_doubtful, types)) and destination.strip().lower() in _DOCUMENT_DESTINATIONS


def _is_doubtful(type: str) -> bool:
    return "/" not in type or type in _SNIFFED or _CODE.fullmatch(type) is not None


_known_types = lru_cache(256)(_read_types)


class Recipient(NamedTuple):
    """Who gets the answer: what gating must know of the request."""

    permissions: Permissions
    host: str = ""
    """Its `Host`: with the port, if there is one."""
    destination: str = ""
    """Its `Sec-Fetch-Dest`, empty where there is none."""
    withdrawn: bool = False
    """Whether this visitor allowed device data before and does not now, so that hints are to be revoked."""
    report_uri: str = ""
    """The path that takes reports, with the prefix of the mount."""


class _Opening(NamedTuple):
    """What some permissions open, and what they leave closed."""

    policy: str
    open: Hosts
    refused: Hosts
    closed: Disclosure


class Gate:
    """The gate of one registry; build it once at start.

    Raises:
        ConfigurationError: a host of the registry cannot stand in a policy.
    """

    def __init__(self, registry: Registry) -> None:
        self.mode = _mode(registry)
        vendors = registry.vendors.values() if self.mode != "off" else ()
        self._vendors = {vendor.id: _patterns(vendor.hosts) for vendor in vendors if vendor.hosts}
        self._always = _always_open(registry) if self.mode != "off" else ()
        self.gated_vendors = tuple(self._vendors)
        """The vendors that have hosts, where third parties are gated.

        Without any, what is reported is the same for everybody, and shared caches may keep the page. With
        one, what `governs` says yes to depends on the visitor.
        """
        self._disclosing = DISCLOSING.intersection(registry.purposes if self.mode == "enforce" else ())
        self._closed = disclosed_for(self._disclosing)
        """What is closed to a visitor who allows nothing."""
        self._opening_for = lru_cache(128)(self._work_out_opening)
        self._opening = lru_cache(128)(self._open)
        self._governed = self._names()
        self._read = self._governed | {"content-type", "location"}
        self.looks_at = self._governed | {
            "location",
            "permissions-policy",
            "content-security-policy-report-only",
        }
        """The response fields, in lower case, that are judged together with what is added."""
        self.withheld = self._governed - {"content-security-policy"}
        """The response fields, in lower case, that do not leave where they cannot be judged."""
        self.closed_policy = self._open(frozenset()).policy if self.mode == "enforce" else ""
        """The policy of a visitor who allows nobody, empty where none is enforced."""
        self.hidden_in_doubt = self._closed.request_fields
        """The request fields, in lower case, that the app is not to see where it is in doubt."""

    def _names(self) -> frozenset[str]:
        if self.mode != "enforce":
            return frozenset()
        names = {"content-security-policy", "content-security-policy-report-only", "link", "nel", "report-to"}
        return frozenset(names | {"reporting-endpoints", "speculation-rules", *self._closed.response_fields})

    def _work_out_opening(self, permissions: Permissions) -> _Opening:
        opening = self._opening(permissions.allowed_vendors().intersection(self._vendors))
        return opening._replace(closed=self._closed_to(permissions))

    def _closed_to(self, permissions: Permissions) -> Disclosure:
        return disclosed_for(frozenset(filterfalse(permissions.allows, self._disclosing)))

    def _open(self, allowed: frozenset[str]) -> _Opening:
        refused = Hosts(p for id, patterns in self._vendors.items() if id not in allowed for p in patterns)
        candidates = [p for id, patterns in self._vendors.items() if id in allowed for p in patterns]
        patterns = dict.fromkeys((*self._always, *(p for p in candidates if not refused.within(p))))
        return _Opening(load_policy(patterns), Hosts(patterns), refused, self._closed)

    def governs(self, status: int, headers: Headers, destination: str = "") -> bool:
        """Whether there is something to judge or to add."""
        if self.mode == "off":
            return False
        touched, document = self._survey(status, headers, destination)
        return touched or document

    def _survey(self, status: int, headers: Headers, destination: str) -> tuple[bool, bool]:
        """Whether there is a header to judge, and whether this is a document that needs a policy."""
        touched, located = False, False
        types: list[str] = []
        for name, value in headers:
            key = _key(name)
            if key in self._read:
                touched |= key in self._governed
                # A redirect to nowhere is shown as a page.
                located |= key == "location" and bool(value.strip())
                if key == "content-type":
                    types.append(value)
        redirects = located and status in _REDIRECTS
        return touched, not redirects and makes_document(tuple(types), destination)

    def response_headers(self, status: int, headers: Headers, recipient: Recipient) -> Headers:
        """The headers as this visitor may have them; the very same sequence where nothing is to be judged.

        Filtering twice is the same as once.
        """
        if self.mode == "off":
            return headers
        touched, document = self._survey(status, headers, recipient.destination)
        if not (touched or document):
            return headers
        opening = self._opening_for(recipient.permissions)
        if self.mode == "report":
            address = quote(recipient.report_uri, safe="/%:~")
            return _with(
                headers, "Content-Security-Policy-Report-Only", f"{opening.policy}; report-uri {address}"
            )
        judged = _permitted(headers, opening, recipient)
        if not document:
            return judged
        judged = _device_answers(judged, opening.closed, withdrawn=recipient.withdrawn)
        return _with(judged, "Content-Security-Policy", opening.policy)

    def other_headers(self, headers: Headers, recipient: Recipient) -> Headers:
        """Fields apart from the head of the answer: trailers, and interim answers such as 103 (RFC 8297).

        Judged alike, with nothing added: they make no document.
        """
        if self.mode != "enforce":
            return headers
        return _permitted(headers, self._opening_for(recipient.permissions), recipient)

    def hidden_request_headers(self, permissions: Permissions) -> frozenset[str]:
        """The request headers, in lower case, that the app is not to see."""
        return self._closed_to(permissions).request_fields

    def closed_features(self, values: list[str]) -> str:
        """The Permissions-Policy of who allows nobody, with the app's own; empty where none is enforced."""
        return shut_features(values, self._closed) if self._closed.features else ""


def _mode(registry: Registry) -> Literal["off", "report", "enforce"]:
    """The mode in force: where no vendor has a host there is nothing to enforce, and hosts to be found."""
    mode = registry.gating.mode
    if mode == "report" or any(vendor.hosts for vendor in registry.vendors.values()):
        return mode
    return "off"


def _permitted(headers: Headers, opening: _Opening, recipient: Recipient) -> Headers:
    passage = _Passage(opening, recipient.host)
    each = ((name, passage.rules.get(_key(name), str)(value)) for name, value in headers)
    judged: Headers = [(name, value) for name, value in each if value is not None]
    judged = _combined(judged, "reporting-endpoints", passage.endpoints)
    judged = _combined(judged, "report-to", passage.report_to)
    return _combined(judged, "nel", passage.nel)


def _device_answers(headers: Headers, closed: Disclosure, *, withdrawn: bool) -> Headers:
    """What a document says of features and hints."""
    if closed.features:
        headers = _combined(headers, "permissions-policy", lambda values: [shut_features(values, closed)])
    asks = any(_key(name) == "accept-ch" for name, _ in headers)
    if withdrawn and "accept-ch" in closed.response_fields and not asks:
        # Browsers keep hints per origin until told otherwise (Client Hints Infrastructure, section 2.2).
        headers = [*headers, ("Accept-CH", "")]
    return headers


class _Passage:
    """One response on its way to one visitor, at the host that it comes from."""

    __slots__ = ("_groups", "_host", "_opening", "rules")

    def __init__(self, opening: _Opening, host: str) -> None:
        self._opening, self._host = opening, HostPattern.parse(host)
        self._groups = frozenset[str]()
        self.rules: dict[str, Callable[[str], str | None]] = {
            "content-security-policy": self._policy,
            "content-security-policy-report-only": self._report_only,
            "link": self._link,
            "speculation-rules": self._speculation,
            **opening.closed.response_fields,
        }
        """How a line is judged that can be by itself, by its field's name in lower case."""

    def opens(self, url: str) -> bool:
        """Whether a browser may be sent to an address: relative, or one that the policy lets through."""
        host = _host_of(url)
        if isinstance(host, bool):
            return host
        return host == self._host or self._opening.open.cover(host)

    def _unwanted(self, pattern: HostPattern) -> bool:
        """Whether all that a source lets load belongs to refused vendors."""
        # A registry names hosts, mostly without a port, and means the vendor at any.
        asked = (pattern, pattern._replace(port=""))
        refused, opened = self._opening.refused, self._opening.open
        return any(map(refused.cover, asked)) and not any(map(opened.meet, asked))

    def _policy(self, value: str) -> str:
        return narrowed(value, self._unwanted, self.opens)

    def _report_only(self, value: str) -> str:
        return narrowed(value, lambda _: False, self.opens)

    def _link(self, value: str) -> str | None:
        """A Link value without members that make a browser contact what is not open."""
        return without_members(value, lambda member: all(map(self.opens, loaded_by_link(member))))

    def _speculation(self, value: str) -> str | None:
        return without_members(value, lambda member: self.opens(string_item(member) or ""))

    def endpoints(self, values: list[str]) -> list[str]:
        """The endpoints of Reporting-Endpoints that are open."""
        pairs = dictionary(", ".join(values))
        kept = [text for _, text in pairs or () if all(map(self.opens, strings(text)))]
        if pairs is not None and len(kept) == len(pairs):
            return values
        return [", ".join(kept)] if kept else []

    def report_to(self, values: list[str]) -> list[str]:
        """The groups of Report-To; one left without an open endpoint is withdrawn: browsers keep them."""
        groups = _json_list(values)
        if groups is None:
            return []
        kept = [self._group(group) if isinstance(group, dict) else group for group in groups]
        self._groups = frozenset(
            str(group.get("group", "default"))
            for group in kept
            if isinstance(group, dict) and group.get("endpoints")
        )
        return values if kept == groups else [_json(group) for group in kept]

    def _group(self, group: dict[str, Any]) -> dict[str, Any]:
        endpoints = group.get("endpoints")
        if not isinstance(endpoints, list):
            return group
        urls = [endpoint.get("url") if isinstance(endpoint, dict) else None for endpoint in endpoints]
        kept = [e for e, url in zip(endpoints, urls, strict=True) if isinstance(url, str) and self.opens(url)]
        if kept:
            return group | {"endpoints": kept}
        return group | {"endpoints": [], "max_age": 0}

    def nel(self, values: list[str]) -> list[str]:
        """Network error logging stays where this very answer shows that its reports go to an open host.

        Browsers read the first element only and remember it (Network Error Logging, section 4.1): so it is
        replaced by a withdrawal.
        """
        policies = _json_list(values)
        if policies is None:
            return []
        policy = next(iter(policies), None)
        if not isinstance(policy, dict) or "report_to" not in policy:
            return values
        group = policy["report_to"]
        return values if isinstance(group, str) and group in self._groups else ['{"max_age":0}']


def _always_open(registry: Registry) -> tuple[HostPattern, ...]:
    # An IPv6 address cannot stand in a policy (CSP Level 3, section 2.3.1); `'self'` is there for it.
    own = [host for host in registry.site.hosts if not host.startswith("[")]
    return _patterns((*own, *registry.gating.allow))


def _patterns(hosts: Iterable[str]) -> tuple[HostPattern, ...]:
    patterns = []
    for host in hosts:
        pattern = HostPattern.parse(host)
        if pattern is None or pattern.port == "*":
            raise ConfigurationError(
                f"{host!r} is no host: write example.com, *.example.com or example.com:8443"
            )
        patterns.append(pattern)
    return tuple(patterns)


def _key(name: str) -> str:
    return name.strip().lower()


def _with(headers: Headers, name: str, value: str) -> Headers:
    """The headers with this line, added last unless it is there."""
    present = any(text == value and _key(other) == name.lower() for other, text in headers)
    return headers if present else [*headers, (name, value)]


def _combined(headers: Headers, key: str, rule: Callable[[list[str]], list[str]]) -> Headers:
    """The headers with all lines of one field judged as a whole, as browsers combine them."""
    lines = [(name, value) for name, value in headers if _key(name) == key]
    values = [value for _, value in lines]
    judged = rule(values)
    if judged == values:
        return headers
    name = lines[0][0] if lines else key.title()
    return [line for line in headers if _key(line[0]) != key] + [(name, value) for value in judged]


_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HIERARCHICAL = re.compile(r"(?:https?|wss?)://([^/?#]*)", re.IGNORECASE)


def _host_of(url: str) -> HostPattern | bool:
    """The host of an address; True if it is relative to the page, False if it cannot be told.

    Cleaned as browsers do (URL, section 4.4): blanks at the ends, tabs and line ends anywhere, backslashes.
    """
    url = re.sub(r"[\t\n\r]", "", url.strip("".join(map(chr, range(33))))).replace("\\", "/")
    if url.startswith("//"):
        url = f"https:{url}"
    elif not _ABSOLUTE.match(url):
        return True
    match = _HIERARCHICAL.match(url)
    host = HostPattern.parse(match[1]) if match else None
    return host or False


def _json_list(values: list[str]) -> list[Any] | None:
    """A field of JSON values separated by commas, None if it is none (Network Reporting API, section 3)."""
    try:
        return msgspec.json.decode(f"[{','.join(values)}]".encode("latin-1"), type=list[Any])
    except (ValueError, RecursionError):
        return None


def _json(value: Any) -> str:
    # The octets of a header travel as latin-1 text.
    return msgspec.json.encode(value).decode("latin-1")
