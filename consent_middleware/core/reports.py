"""What browsers report of a Content Security Policy, read without trust: anybody can post anything."""

import re
from typing import NamedTuple, TypeVar

import msgspec

from .csp import FETCH_DIRECTIVES

T = TypeVar("T")

MAX_REPORTS = 50
"""How many different reports of one request are kept."""

_HOST = re.compile(
    r"(?:https?|wss?)://([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::[0-9]{1,5})?(?:[/?#]|$)", re.ASCII | re.IGNORECASE
)


class Report(NamedTuple):
    """A host that a page loaded from, or tried to, against the policy; `directive` says as what."""

    host: str
    directive: str


class _Violation(msgspec.Struct, rename="kebab"):
    """CSP Level 3, section 5.3: what `report-uri` receives."""

    blocked_uri: str = ""
    effective_directive: str = ""
    violated_directive: str = ""


class _Post(msgspec.Struct, rename="kebab"):
    csp_report: _Violation


class _Body(msgspec.Struct, rename="camel"):
    """CSP Level 3, section 5.2: the body of a report of the Reporting API."""

    blocked_url: str = msgspec.field(default="", name="blockedURL")
    effective_directive: str = ""


class _Envelope(msgspec.Struct):
    type: str
    body: msgspec.Raw


def read_reports(body: bytes, content_type: str) -> tuple[Report, ...]:
    """The hosts that a posted report names, each once per directive, `MAX_REPORTS` at most.

    Reads `application/csp-report` and `application/reports+json`; nothing comes of anything else, of
    violations without a host (inline code, `eval`, local schemes) and of what does not follow the format.
    Addresses are cut to their host: a full one may hold what a visitor did. The caller limits the size.
    """
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "application/csp-report":
        violations = _posted(body)
    elif essence == "application/reports+json":
        violations = _queued(body)
    else:
        return ()
    found: dict[Report, None] = {}
    for address, directive in violations:
        host = _HOST.match(address)
        if host and len(host[1]) <= 253 and directive in FETCH_DIRECTIVES:
            found[Report(host[1].lower(), directive)] = None
            if len(found) == MAX_REPORTS:
                break
    return tuple(found)


def _decoded(body: bytes | msgspec.Raw, type: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=type)
    except (ValueError, RecursionError):
        return None


def _posted(body: bytes) -> list[tuple[str, str]]:
    post = _decoded(body, _Post)
    if post is None:
        return []
    violation = post.csp_report
    # Level 1 had the whole text of the directive, and no field with its name alone.
    directive = violation.effective_directive or violation.violated_directive.partition(" ")[0]
    return [(violation.blocked_uri, directive)]


def _queued(body: bytes) -> list[tuple[str, str]]:
    bodies = [
        _decoded(e.body, _Body) for e in _decoded(body, list[_Envelope]) or () if e.type == "csp-violation"
    ]
    return [(body.blocked_url, body.effective_directive) for body in bodies if body]
