"""The visitor's consent as the app sees it, during one request."""

import logging
import os
import sys
from collections.abc import Collection, Mapping, MutableMapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote

from . import catalogue
from .core.choice import Grants, Moment, grants_more, refusal, with_grants
from .core.compiled import CompiledRegistry
from .core.consent import Consent, Signals
from .core.registry import LONGEST_REMEMBERED, Registry
from .core.visitor import VisitorView
from .errors import ConsentStateError
from .registry_file.findings import nearest

logger = logging.getLogger("consent_middleware")

PATH_LETTERS = "/:@!$&'()*+,=~"
"""What a browser leaves as it is in a path, letters, digits, `-`, `.` and `_` apart; but for `;`."""

Target = MutableMapping[str, Any]
"""An ASGI scope or a WSGI environ."""

KEY = "consent_middleware.consent"
"""Where a scope or environ holds the exchange that it is part of."""


_LONGEST_ID = 100
_MOST_LISTED = 20
_MOST_TOLD = 256
"""Unknown ids that the log tells of: an app may ask about whatever a stranger sends."""


def quoted(path: str | bytes) -> str:
    """A path percent-encoded as browsers do; what is no text of UTF-8 becomes `?`, which fits no cookie."""
    return (_known_quoted if len(path) <= LONGEST_REMEMBERED else _quoted)(path)


def _quoted(path: str | bytes) -> str:
    octets = path if isinstance(path, bytes) else path.encode(errors="replace")
    return quote(octets, PATH_LETTERS)


# Sites have few pages that are asked for often.
_known_quoted = lru_cache(256)(_quoted)


def mount_of(root: str | bytes) -> str:
    """A `SCRIPT_NAME` or `root_path` as `Request.mount` has it.

    Where "/" or a last slash were left, links would begin with `//`, which is another host.
    """
    inner = quoted(root).strip("/")
    return f"/{inner}" if inner else ""


def path_below_mount(scope: Mapping[str, Any]) -> str:
    """The path of an ASGI scope below its `root_path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    # Servers put a root before the path as it was given to them; its last slash may be the path's own.
    # Some leave out its first.
    for prefix in (root, root.rstrip("/"), f"/{root.strip('/')}") if root else ():
        if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"", "/"}:
            return path[len(prefix) :]
    return path


class Request(Protocol):
    """What the middleware needs to know of a request; each door reads it from its own protocol."""

    @property
    def target(self) -> MutableMapping[str, Any]:
        """The scope or environ, for the site's own callables."""

    @property
    def method(self) -> str:
        """The method, "" for a websocket."""

    @property
    def path(self) -> str:
        """The path below the mount."""

    @property
    def mount(self) -> str:
        """The prefix below which we were entered, percent-encoded, without a last slash; "" for none.

        As it was before the app ran: dispatchers inside move parts of the path to it.
        """

    @property
    def full_path(self) -> str:
        """The path as the browser has it: with the mount, percent-encoded."""

    @property
    def secure(self) -> bool:
        """Whether the server was reached over https or wss."""

    @property
    def cookie(self) -> str:
        """All `Cookie` fields, joined by "; " (RFC 6265bis, section 5.8.1); "" without any."""

    @property
    def is_plain(self) -> bool:
        """Whether it has neither `Consent-Token` nor a preference signal, as most."""

    @property
    def is_proxied(self) -> bool:
        """Whether it has a field by which proxies say how a visitor came to them."""

    def field(self, name: str) -> str:
        """The values of a field, named in lower case, joined by commas; "" if it is absent."""


class Visit(Protocol):
    """The exchange behind a RequestConsent."""

    @property
    def compiled(self) -> CompiledRegistry:
        """The registry in force, made ready."""

    @property
    def is_finished(self) -> bool:
        """Whether the app is done."""

    def read(self) -> VisitorView:
        """What the visitor's choice is worth; the answer is this visitor's own from now on."""

    @property
    def view(self) -> VisitorView:
        """What the visitor's choice is worth."""

    @property
    def now(self) -> datetime:
        """When the request was first judged."""

    @property
    def signals(self) -> Signals:
        """The preference signals on the request."""

    @property
    def locked(self) -> str:
        """Why no choice can be made here and now, "" if one can."""

    def choose_for_app(self, consent: Consent, *, granting: bool) -> None:
        """Make `consent` the visitor's choice, as the app's doing."""

    def new_id(self) -> str:
        """A fresh random id for a choice."""


class _UnknownIds:
    """What becomes of questions about ids that the registry does not have.

    While an app is developed they are errors. In production the answer is no, and the log says so once an id.
    """

    def __init__(self, *, raises: bool) -> None:
        self.raises = raises
        self._told: set[tuple[str, str]] = set()

    def note(self, kind: str, id: object, known: Collection[str]) -> None:
        """Take notice of a question about an unknown purpose or vendor; ConsentStateError in development."""
        if self.raises:
            raise ConsentStateError(_no_such(kind, id, known))
        self.tell(kind, id, known)

    def tell(self, kind: str, id: object, known: Collection[str]) -> None:
        """Log it, once an id."""
        key = kind, str(id)[:_LONGEST_ID]
        if key not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(key)
            logger.error("%s: the answer is no", _no_such(kind, id, known))


def _no_such(kind: str, id: object, known: Collection[str]) -> str:
    word = str(id)[:_LONGEST_ID]
    hint = nearest(word, known)
    listed = ", ".join([*known][:_MOST_LISTED]) + (", …" if len(known) > _MOST_LISTED else "")
    return f"the registry has no {kind} {word!r}{f' ({hint})' if hint else ''}; it has {listed or 'none'}"


unknown_ids = _UnknownIds(raises=sys.flags.dev_mode or os.environ.get("CONSENT_DEBUG") == "1")


def raise_on_unknown_ids(*, raises: bool = True) -> None:
    """Make questions about unknown ids errors, or not.

    They are under Python's development mode (`-X dev`) and with `CONSENT_DEBUG=1`, and in tests.
    """
    unknown_ids.raises = raises


class RequestConsent:
    """What this visitor allows, and the app's way to change it. See `get_consent`.

    Reading any of it makes the answer private, with `Vary: Cookie`, as reading a session does.
    """

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def __repr__(self) -> str:
        """Which site's; what was chosen is not told, for then the answer would depend on it."""
        return f"<RequestConsent of site {self.registry.site.id!r}>"

    @property
    def visit(self) -> Visit:
        """The exchange behind it, for the pages; reading it leaves the answer as cacheable as it was."""
        return self._visit

    @property
    def registry(self) -> Registry:
        """The registry in force; reading it leaves the answer as cacheable as it was."""
        return self._visit.compiled.registry

    @property
    def decided(self) -> bool:
        """Whether the visitor has answered and the answer still stands."""
        return self._visit.read().decided

    def allows(self, purpose: str) -> bool:
        """Whether cookies of a purpose may be stored and read.

        An unknown id is a mistake: see `raise_on_unknown_ids`. The standard ids are always known.
        """
        allowed = self._visit.read().permissions.allows(purpose)
        if not allowed and not self._knows(purpose):
            unknown_ids.note("purpose", purpose, self.registry.purposes)
        return allowed

    def allows_vendor(self, id: str) -> bool:
        """Whether a vendor's tags may be loaded: only if each of its purposes is allowed. Ids as above."""
        allowed = self._visit.read().permissions.allows_vendor(id)
        if not allowed and id not in self.registry.vendors:
            unknown_ids.note("vendor", id, self.registry.vendors)
        return allowed

    def _knows(self, purpose: str) -> bool:
        return purpose in self.registry.purposes or purpose in catalogue.purposes()

    def allows_cookie(self, name: str) -> bool:
        """Whether the cookie of this actual name may be stored and read; undeclared: as `unknown` says."""
        permissions = self._visit.read().permissions
        rule = self.registry.classify(name)
        if rule is None:
            return self.registry.consent.unknown == "keep"
        return permissions.allows_rule(rule)

    def grant(self, *purposes: str) -> None:
        """Add purposes to the visitor's choice, or make one. ConsentStateError where none can be made.

        For an app with a control of its own ("show the map"), called because the visitor used it. A live
        choice keeps its date. The state changes at once; the cookie leaves with this answer. What is in the
        choice already, or needs no yes, makes no choice. ConsentStateError for an unknown id.
        """
        visit = self._writable()
        unknown = [purpose for purpose in purposes if not self._knows(purpose)]
        if unknown:
            raise ConsentStateError(_no_such("purpose", unknown[0], self.registry.purposes))
        asked = (
            visit.view.standing,
            Grants(purposes=frozenset(purposes)),
            visit.compiled,
            Moment(now=visit.now, new_id=visit.new_id(), signals=visit.signals),
        )
        if grants_more(*asked):
            visit.choose_for_app(with_grants(*asked), granting=True)

    def withdraw(self) -> None:
        """Refuse everything from now on, as a visitor's own withdrawal does. Errors as for `grant`."""
        visit = self._writable()
        visit.choose_for_app(refusal(visit.compiled, visit.now), granting=False)

    def _writable(self) -> Visit:
        self._visit.read()
        if self._visit.locked:
            raise ConsentStateError(f"the visitor's choice cannot be changed {self._visit.locked}")
        return self._visit


def get_consent(scope_or_environ: object) -> RequestConsent:
    """The visitor's consent on a request: an ASGI scope, a WSGI environ, or an object that has one.

    `get_consent(request)` is enough in Flask, Starlette, FastAPI and Django. ConsentStateError if the app is
    not wrapped in a ConsentMiddleware, or for what is no request.
    """
    # A scope comes before an environ, which some frameworks make of it; Starlette's requests are mappings.
    given = scope_or_environ
    held = (given, getattr(given, "scope", None), getattr(given, "environ", None))
    mappings = [one for one in held if isinstance(one, Mapping)]
    for mapping in mappings:
        visit: Any = mapping.get(KEY)
        if hasattr(visit, "is_finished"):
            return RequestConsent(visit)
    if not mappings:
        kind = type(given).__name__
        raise ConsentStateError(f"no request: {kind} is no scope or environ, and has neither")
    raise ConsentStateError("no consent here: wrap the app in ConsentMiddleware, outermost")
