"""The visitor's consent as the app sees it, during one request."""

from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from .core.choice import Grants, Moment, refusal, with_grants
from .core.compiled import CompiledRegistry
from .core.consent import Consent, Signals
from .core.registry import Registry
from .core.visitor import VisitorView
from .errors import ConsentStateError

PATH_LETTERS = "/:@!$&'()*+,=~"
"""What a browser leaves as it is in a path, letters, digits, `-`, `.` and `_` apart; but for `;`."""

KEY = "consent_middleware.consent"
"""Where a scope or environ holds the RequestConsent."""


def mount_of(root: str | bytes) -> str:
    """A `SCRIPT_NAME` or `root_path` as `Request.mount` has it.

    Where "/" or a last slash were left, links would begin with `//`, which is another host.
    """
    inner = quote(root, PATH_LETTERS).strip("/")
    return f"/{inner}" if inner else ""


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

    def field(self, name: str) -> str:
        """The values of a field, named in lower case, joined by commas; "" if it is absent."""


class Visit(Protocol):
    """The exchange behind a RequestConsent."""

    was_read: bool
    compiled: CompiledRegistry
    finished: bool

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


class RequestConsent:
    """What this visitor allows, and the app's way to change it. See `get_consent`.

    Reading any of it makes the answer private, with `Vary: Cookie`, as reading a session does.
    """

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def _read(self) -> Visit:
        self._visit.was_read = True
        return self._visit

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
        return self._read().view.decided

    def allows(self, purpose: str) -> bool:
        """Whether cookies of a purpose may be stored and read."""
        return self._read().view.permissions.allows(purpose)

    def allows_vendor(self, id: str) -> bool:
        """Whether a vendor's tags may be loaded: only if each of its purposes is allowed."""
        return self._read().view.permissions.allows_vendor(id)

    def allows_cookie(self, name: str) -> bool:
        """Whether the cookie of this actual name may be stored and read; undeclared: as `unknown` says."""
        permissions = self._read().view.permissions
        rule = self.registry.classify(name)
        if rule is None:
            return self.registry.consent.unknown == "keep"
        return permissions.allows_rule(rule)

    def grant(self, *purposes: str) -> None:
        """Add purposes to the visitor's choice, or make one. ConsentStateError where none can be made.

        For an app with a control of its own ("show the map"), called because the visitor used it. A live
        choice keeps its date. The state changes at once; the cookie leaves with this answer.
        """
        visit = self._writable()
        unknown = sorted(set(purposes).difference(self.registry.purposes))
        if unknown:
            raise ConsentStateError(f"the registry has no purpose {', '.join(map(repr, unknown))}")
        moment = Moment(now=visit.now, new_id=visit.new_id(), signals=visit.signals)
        added = Grants(purposes=frozenset(purposes))
        granted = with_grants(visit.view.standing, added, visit.compiled, moment)
        visit.choose_for_app(granted, granting=True)

    def withdraw(self) -> None:
        """Refuse everything from now on, as a visitor's own withdrawal does. Errors as for `grant`."""
        visit = self._writable()
        visit.choose_for_app(refusal(visit.compiled, visit.now), granting=False)

    def _writable(self) -> Visit:
        visit = self._read()
        if visit.locked:
            raise ConsentStateError(f"the visitor's choice cannot be changed {visit.locked}")
        return visit


def get_consent(scope_or_environ: Mapping[str, Any]) -> RequestConsent:
    """The visitor's consent on the request of this ASGI scope or WSGI environ.

    Flask: `get_consent(request.environ)`; Starlette and FastAPI: `get_consent(request.scope)`; Django:
    `get_consent(request.environ)`, or `request.scope` under ASGI. ConsentStateError if the app is not
    wrapped in a ConsentMiddleware.
    """
    consent = scope_or_environ.get(KEY)
    if not isinstance(consent, RequestConsent):
        raise ConsentStateError("no consent here: wrap the app in ConsentMiddleware, outermost")
    return consent
