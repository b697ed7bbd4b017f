"""ConsentPolicy: registry, keys and options, checked at start and prepared for the request path."""

import os
import secrets
import warnings
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .appearance import Appearance
from .core.consent import Appraisal, Consent, Terms, coarsened
from .core.enforcement import CookieSurvey, Decision, Enforcer
from .core.gating import Gate
from .core.registry import Registry
from .core.set_cookie import imf_fixdate
from .core.token import LONGEST_WRITTEN, Sealer, TokenSigner
from .errors import BadTokenError, ConfigurationError, ConfigurationWarning, RecordStoreError
from .memory import CookieMemory
from .observe import DecisionLog, Inventory, logger
from .records.event import ConsentEvent, State, uuid7
from .records.snapshot import snapshot_of
from .registry_file import read_registry
from .request import KEY, Request

if TYPE_CHECKING:
    from .records.store import RecordStore

Target = MutableMapping[str, Any]
"""An ASGI scope or a WSGI environ."""

GPC_PATH = "/.well-known/gpc.json"
"""Where a host says that it honours the signal (Global Privacy Control, "GPC support resource")."""

_SHORT_KEY = 16
_LONGEST_REMEMBERED = 2048


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return secrets.token_urlsafe(16)


class ConsentPolicy:
    """What a site has decided about cookies, ready for the request path. One per process, shared by threads.

    `secret_keys` are given newest first: the first signs, all verify. `consent_needed` is asked once per
    request; where it says no, everything is allowed and only the caps hold. `on_decision` sees every
    decision and may return another. `pages` is a directory with the site's own templates, style and texts for
    the consent pages. `clock` returns the time, aware. ConfigurationError if it cannot start.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        secret_keys: Sequence[str] | str,
        consent_needed: Callable[[Target], bool] | None = None,
        on_decision: Callable[[Decision, Target], Decision | None] | None = None,
        clock: Callable[[], datetime] = _utc_now,
        new_id: Callable[[], str] = _new_id,
        records: str | None = None,
        pages: str | os.PathLike[str] | None = None,
    ) -> None:
        self.registry = registry
        self.terms = Terms(registry)
        self.clock = clock if clock is _utc_now else lambda: clock().astimezone(UTC)
        self.new_id = new_id
        self.consent_needed = consent_needed
        self.on_decision = on_decision
        self.observing = registry.consent.mode == "observe"
        self.decision_log = DecisionLog(observing=self.observing)
        self.inventory = Inventory()
        self.memory = CookieMemory(self.inventory)
        keys = _checked_keys(secret_keys)
        self._signer = TokenSigner(keys, registry.site.id)
        self.offers = Sealer(keys, f"consent_middleware.offer.v1.{registry.site.id}")
        self.appearance = _checked_appearance(pages, registry)
        self.snapshot = snapshot_of(registry, self.appearance.digest)
        self.records = _open_records(records, keys) if records else None
        self._cookie_names = {secure: _cookie_name(registry, secure=secure) for secure in (False, True)}
        self.enforcer = Enforcer(registry, self.terms, frozenset(self._cookie_names.values()), self.verifies)
        self.gate = Gate(registry)
        self._appraise = lru_cache(4096)(self._appraise_token)
        self._survey = lru_cache(2048)(self.enforcer.survey)
        self._tell_of_proxy = lru_cache(1)(self._warn_of_proxy)
        self.honours_signals = bool(list(self._signal_fields()))
        self.depends_on = ("Cookie", "Consent-Token", *self._signal_fields())

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        secret_keys: Sequence[str] | str | None = None,
        records: str | None = None,
        **options: Any,
    ) -> "ConsentPolicy":
        """Read the registry file at `path`. `options` are those of the class.

        The keys default to those in `CONSENT_SECRET_KEYS`, separated by blanks, and the record store to the
        URL in `CONSENT_RECORDS`; without either there are no records.
        """
        keys = os.environ.get("CONSENT_SECRET_KEYS", "").split() if secret_keys is None else secret_keys
        url = os.environ.get("CONSENT_RECORDS") if records is None else records
        return cls(read_registry(path), secret_keys=keys, records=url, **options)

    def _signal_fields(self) -> Iterable[str]:
        settings = self.registry.consent
        if settings.gpc == "refuse" and self.terms.sale:
            yield "Sec-GPC"
        if settings.dnt == "refuse":
            yield "DNT"

    def cookie_name(self, *, secure: bool) -> str:
        """The name of the consent cookie over https or http."""
        return self._cookie_names[secure]

    def consent_cookie(
        self,
        consent: Consent,
        now: datetime,
        secure: bool = True,  # noqa: FBT001, FBT002 - the signature of the contract
    ) -> str:
        """The `Set-Cookie` value that stores a choice in the browser until it ends.

        A choice too long for a cookie is coarsened towards refusal first. Without `secure` it is the
        form for plain http, which browsers accept there.
        """
        token = self.token(consent)
        end = self.terms.token_end(consent)
        settings = self.registry.consent
        domain = f"; Domain={settings.domain}" if settings.domain else ""
        flags = "; Secure; HttpOnly; SameSite=Lax" if secure else "; HttpOnly; SameSite=Lax"
        return (
            f"{self._cookie_names[secure]}={token}; Max-Age={max(0, int((end - now).total_seconds()))}"
            f"; Expires={imf_fixdate(end)}; Path=/{domain}{flags}"
        )

    def token(self, consent: Consent) -> str:
        """The signed text of a choice, short enough for a cookie."""
        return self._signer.sign(self.fitted(consent))

    def fitted(self, consent: Consent) -> Consent:
        """The choice as far as it fits into a cookie: one that does not is coarsened towards refusal."""
        fits = len(self._signer.sign(consent)) <= LONGEST_WRITTEN
        return consent if fits else coarsened(consent, self.registry)

    def read_consent(self, token: str, now: datetime) -> Consent | None:
        """The choice that a token holds at `now`, None for anything that says nothing then.

        Where its grants have ended and its objections have not, only these are left.
        """
        choice = self.appraise(token)
        if choice is None or not choice.holds(now):
            return None
        return choice.consent if now < choice.grants_end else replace(choice.consent, purposes=())

    def appraise(self, token: str) -> Appraisal | None:
        """A token's choice with all that follows from it, None if we did not sign it; remembered."""
        try:
            return self._appraise(token)
        except BadTokenError:
            return None

    def _appraise_token(self, token: str) -> Appraisal:
        # What does not verify leaves by an exception, which a cache does not keep: strangers cannot fill it.
        return self.terms.appraise(self._signer.verify(token))

    def verifies(self, token: str) -> bool:
        """Whether we signed a token, whatever its age."""
        return self.appraise(token) is not None

    def survey(self, field: str) -> CookieSurvey:
        """What a `Cookie` value holds; remembered, for a visitor's browser sends the same again and again."""
        return self._survey(field) if len(field) <= _LONGEST_REMEMBERED else self.enforcer.survey(field)

    def record(self, event: ConsentEvent) -> None:
        """Store a record, where records are kept: it is durable when this returns.

        If the store fails, what takes something back holds all the same and its record goes to the log; a
        grant does not, and RecordStoreError says so.
        """
        if self.records is None:
            return
        try:
            self.records.save_snapshot(self.snapshot)
            self.records.append(event)
        except RecordStoreError:
            if event.state not in {State.REFUSED, State.WITHDRAWN}:
                raise
            logger.error("%s", self.records.log_line(event))

    def new_record_id(self, now: datetime) -> str:
        """A fresh id for a record made at `now`."""
        return uuid7(now, secrets.token_bytes(10))

    def is_page(self, path: str) -> bool:
        """Whether a path below the mount is one of the consent pages."""
        settings = self.registry.consent
        if path.startswith(settings.path):
            return len(path) == len(settings.path) or path[len(settings.path)] == "/"
        return path == GPC_PATH and settings.gpc == "refuse"

    def is_nested(self, target: Target) -> bool:
        """Whether an outer copy of the middleware judges this request already.

        ConfigurationError if that one has another registry: the two would undo each other's work.
        """
        outer = target.get(KEY)
        if outer is None:
            return False
        if outer.registry is not self.registry and outer.registry != self.registry:
            raise ConfigurationError(_TWO_REGISTRIES)
        return True

    def is_secure(self, request: Request) -> bool:
        """Whether the visitor's browser speaks https, as far as we can know."""
        if request.secure or self.registry.consent.https == "always":
            return True
        if request.field("x-forwarded-proto").lower() == "https":
            self._tell_of_proxy()
        return False

    def _warn_of_proxy(self) -> None:
        logger.warning(
            "a proxy says that visitors come over https, but the server speaks http, so the consent cookie "
            'is called %r and is not Secure: set [consent] https = "always" in the registry',
            self._cookie_names[False],
        )

    def is_needed(self, target: Target) -> bool:
        """Whether consent is needed on a request; a doubt counts as yes."""
        if self.consent_needed is None:
            return True
        try:
            return bool(self.consent_needed(target))
        except Exception:  # noqa: BLE001 - whatever a site's function raises
            logger.exception("consent_needed failed: consent is taken to be needed")
            return True


def policy_for(app: object, policy: "ConsentPolicy | str | os.PathLike[str]") -> ConsentPolicy:
    """The policy that a middleware around `app` is to keep; a path is read as by `from_file`."""
    chosen = policy if isinstance(policy, ConsentPolicy) else ConsentPolicy.from_file(policy)
    wrapped = getattr(app, "policy", None)
    if isinstance(wrapped, ConsentPolicy) and wrapped.registry != chosen.registry:
        raise ConfigurationError(_TWO_REGISTRIES)
    return chosen


_TWO_REGISTRIES = (
    "a ConsentMiddleware inside another one has a different registry: wrap once, outermost, "
    "or give both the same"
)


def _checked_keys(keys: Sequence[str] | str) -> list[str]:
    keys = [keys] if isinstance(keys, str) else list(keys)
    if not keys or not all(keys):
        raise ConfigurationError(
            "no secret key to sign consent with: give secret_keys, or set CONSENT_SECRET_KEYS "
            "(consent-middleware keygen makes one)"
        )
    if any(len(key) < _SHORT_KEY for key in keys):
        warnings.warn(
            f"a secret key has fewer than {_SHORT_KEY} characters: whoever guesses it can forge consent",
            ConfigurationWarning,
            stacklevel=4,
        )
    return keys


def _checked_appearance(directory: str | os.PathLike[str] | None, registry: Registry) -> Appearance:
    appearance = Appearance.of(directory)
    for language in registry.site.languages:
        if not appearance.speaks(language):
            warnings.warn(
                f"the consent pages have no texts in {language!r}, so they are in English there: add "
                f"translations/{language}.toml to the directory given as pages",
                ConfigurationWarning,
                stacklevel=4,
            )
    return appearance


def _open_records(url: str, keys: list[str]) -> "RecordStore":
    from .records.store import open_store  # noqa: PLC0415 - SQLAlchemy is loaded only where records are kept

    store = open_store(url, keys)
    try:
        store.prepare()
    except RecordStoreError:
        # Refusals are honoured without a store, so a site starts without it; each choice tries it again.
        logger.exception("the record store cannot be reached: until it can, nobody's consent is accepted")
    return store


def _cookie_name(registry: Registry, *, secure: bool) -> str:
    """The consent cookie's name: browsers take the prefixes over https only, and __Host- without a domain."""
    name = registry.consent.cookie
    plain = name.removeprefix("__Host-").removeprefix("__Secure-")
    if not secure:
        return plain
    return f"__Secure-{plain}" if registry.consent.domain and name.startswith("__Host-") else name
