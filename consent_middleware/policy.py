"""ConsentPolicy: registry, keys and options, checked at start and prepared for the request path."""

import os
import secrets
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args

from .appearance import Appearance
from .core.choice import coarsened, refusal
from .core.compiled import compile_registry
from .core.consent import NO_SIGNALS, Consent
from .core.fail_closed import FailClosed
from .core.filtering import CookieSurvey, Filter
from .core.gating import Gate
from .core.registry import LawModel, Registry
from .core.set_cookie import imf_fixdate
from .core.structured_fields import forwarded_proto
from .core.token import LONGEST_WRITTEN, Signer, TokenSigner
from .core.verdict import Decision
from .engine import Visitors
from .errors import ConfigurationError, ConfigurationWarning, RecordStoreError
from .memory import CookieMemory
from .observe import DecisionLog, Inventory, Log, logger
from .records.event import ConsentEvent, State
from .records.signing import checked_secrets
from .records.snapshot import snapshot_of
from .registry_file import read_registry
from .request import KEY, Request

if TYPE_CHECKING:
    from .records.store import RecordStore

Target = MutableMapping[str, Any]
"""An ASGI scope or a WSGI environ."""

DecisionHook = Callable[[Decision, Target], Decision | None]

GPC_PATH = "/.well-known/gpc.json"
"""Where a host says that it honours the signal (Global Privacy Control, "GPC support resource")."""

_SHORT_KEY = 16
_MODELS = ", ".join(get_args(LawModel))
_NO_PART_OF_A_KEY = frozenset(",;'\"")
"""Seldom meant in CONSENT_SECRET_KEYS: there blanks alone separate keys."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PolicyOptions(TypedDict, total=False):
    """What a site may hand to a ConsentPolicy besides its registry and keys."""

    model: Callable[[Target], LawModel] | None
    """Asked once per request for its law model, instead of the registry. A doubt counts as opt-in."""
    on_decision: DecisionHook | None
    """Sees every decision on a Set-Cookie, and may return another."""
    on_choice: Callable[[Consent | None, Consent, Target], object] | None
    """Is told of every choice once it is recorded: what stood before, and what stands now."""
    clock: Callable[[], datetime]
    """Returns the time, aware."""
    random: Callable[[int], bytes]
    """Returns that many random octets."""
    records: str | None
    """The URL of the record store; without one there are no records."""
    pages: str | os.PathLike[str] | None
    """A directory with the site's own templates, style and texts for the consent pages."""


class ConsentPolicy:
    """What a site has decided about cookies, ready for the request path. One per process, shared by threads.

    `secret_keys` are given newest first: the first signs, all verify. ConfigurationError if it cannot start.
    """

    def __init__(
        self, registry: Registry, *, secret_keys: Sequence[str] | str, **options: Unpack[PolicyOptions]
    ) -> None:
        records, pages = options.get("records"), options.get("pages")
        self.registry = registry
        clock = options.get("clock", _utc_now)
        self.compiled = compile_registry(registry)
        self.clock = clock if clock is _utc_now else lambda: clock().astimezone(UTC)
        self.random = options.get("random", secrets.token_bytes)
        self._model = options.get("model")
        self.on_decision = options.get("on_decision")
        self._on_choice = options.get("on_choice")
        self.observing = registry.consent.mode == "observe"
        self.log = Log(self.clock)
        self.decision_log = DecisionLog(self.log, observing=self.observing)
        self.inventory = Inventory(self.log)
        self.memory = CookieMemory(self.inventory)
        keys = _checked_keys(secret_keys)
        self._signer = TokenSigner(keys, registry.site.id)
        self.visitors = Visitors(self.compiled, self._signer.verify)
        self.offers = Signer(keys, f"consent_middleware.offer.v1.{registry.site.id}")
        self.appearance = _checked_appearance(pages, registry)
        self.snapshot = snapshot_of(registry, self.appearance.digest)
        self.records = _open_records(records, keys, self.log) if records else None
        self._cookie_names = {secure: _cookie_name(registry, secure=secure) for secure in (False, True)}
        self.enforcer = Filter(self.compiled, frozenset(self._cookie_names.values()), self.verifies)
        self.gate = Gate(registry)
        self._tell_of_proxy = lru_cache(1)(self._warn_of_proxy)
        self.honours_signals = bool(list(self._signal_fields()))
        self.depends_on = ("Cookie", "Consent-Token", *self._signal_fields())
        self.fail_closed = FailClosed(
            governed=self.enforcer.governed | self.gate.withheld,
            depends_on=self.depends_on,
            policy=self.gate.closed_policy,
            permissions=self.gate.closed_features([]),
            permitted=self.gate.closed_features,
        )

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        secret_keys: Sequence[str] | str | None = None,
        **options: Unpack[PolicyOptions],
    ) -> "ConsentPolicy":
        """Read the registry file at `path`. `options` are those of the class.

        The keys default to those in `CONSENT_SECRET_KEYS`, separated by blanks, and the record store to the
        URL in `CONSENT_RECORDS`; without either there are no records.
        """
        variable = os.environ.get("CONSENT_SECRET_KEYS", "") if secret_keys is None else ""
        if not _NO_PART_OF_A_KEY.isdisjoint(variable):
            warnings.warn(
                "CONSENT_SECRET_KEYS holds a comma, a semicolon or a quote, which is taken for a part of a "
                "key: separate keys by blanks alone, without quotes around each",
                ConfigurationWarning,
                stacklevel=2,
            )
        keys = variable.split() if secret_keys is None else secret_keys
        if options.get("records") is None:
            options["records"] = os.environ.get("CONSENT_RECORDS")
        return cls(read_registry(path), secret_keys=keys, **options)

    def _signal_fields(self) -> Iterable[str]:
        settings = self.registry.consent
        if settings.gpc == "refuse" and self.compiled.sale:
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
        end = self.compiled.ends(consent)
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
        if self._fits(consent):
            return consent
        coarse = coarsened(consent, self.compiled)
        return coarse if self._fits(coarse) else refusal(self.compiled, consent.decided_at)

    def _fits(self, consent: Consent) -> bool:
        return len(self._signer.sign(consent)) <= LONGEST_WRITTEN

    def read_consent(self, token: str, now: datetime) -> Consent | None:
        """The choice that a token holds at `now`, None for anything that says nothing then."""
        choice = self.verify(token)
        live = choice is not None and self.compiled.is_kept(choice, now) and now < self.compiled.ends(choice)
        return choice if live else None

    def verify(self, token: str) -> Consent | None:
        """A token's choice, whatever its age, None if we did not sign it; remembered."""
        return self.visitors.verify(token, NO_SIGNALS, self.registry.consent.model)

    def verifies(self, token: str) -> bool:
        """Whether we signed a token, whatever its age."""
        return self.verify(token) is not None

    def new_id(self) -> str:
        """A fresh random id for a choice."""
        return urlsafe_b64encode(self.random(16)).decode().rstrip("=")

    def tell_of_choice(self, before: Consent | None, after: Consent, target: Target) -> None:
        """Tell the site's own code of a choice that was recorded."""
        if self._on_choice is None:
            return
        try:
            self._on_choice(before, after, target)
        except Exception as error:  # noqa: BLE001 - whatever a site's function raises
            self.log.failure("on_choice failed: the choice holds all the same", error)

    def survey(self, field: str) -> CookieSurvey:
        """What a `Cookie` value holds."""
        return self.enforcer.survey(field)

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
        except RecordStoreError as error:
            self.log.store_failure(error)
            if event.state not in {State.REFUSED, State.WITHDRAWN}:
                raise
            logger.error("%s", self.records.log_line(event))

    def is_page(self, path: str) -> bool:
        """Whether a path below the mount is one of the consent pages."""
        settings = self.registry.consent
        if path.startswith(settings.path):
            return len(path) == len(settings.path) or path[len(settings.path)] == "/"
        return path == GPC_PATH and settings.gpc == "refuse"

    def is_nested(self, target: Target) -> bool:
        """Whether an outer copy of the middleware is judging this request.

        ConfigurationError if that one has another registry: the two would undo each other's work.
        """
        outer = target.get(KEY)
        if outer is None or outer.visit.finished:
            return False
        if outer.registry is not self.registry and outer.registry != self.registry:
            raise ConfigurationError(_TWO_REGISTRIES)
        return True

    def is_secure(self, request: Request) -> bool:
        """Whether the visitor's browser speaks https, as far as we can know."""
        if request.secure or self.registry.consent.https == "always":
            return True
        # The first of several says how the visitor came; the others, how proxies reach each other.
        proto = request.field("x-forwarded-proto").partition(",")[0].strip().lower()
        if {proto, forwarded_proto(request.field("forwarded"))} & {"https", "wss"}:
            self._tell_of_proxy()
        return False

    def _warn_of_proxy(self) -> None:
        self.log.warning(
            "a proxy says that visitors come over https, but the server speaks http, so the consent cookie "
            "is called '%s' and is not Secure: set [consent] https = \"always\" in the registry",
            self._cookie_names[False],
        )

    def model_of(self, target: Target) -> LawModel:
        """The law model of a request; a doubt counts as opt-in."""
        if self._model is None:
            return self.registry.consent.model
        try:
            model = self._model(target)
        except Exception as error:  # noqa: BLE001 - whatever a site's function raises
            self.log.failure("model failed: the request counts as opt-in", error)
            return "opt-in"
        if model in get_args(LawModel):
            return model
        self.log.warning("model returned what is none of %s: the request counts as opt-in", _MODELS)
        return "opt-in"


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


def _checked_keys(given: Sequence[str] | str) -> list[str]:
    keys = checked_secrets(given)
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


def _open_records(url: str, keys: list[str], log: Log) -> "RecordStore":
    from .records.store import open_store  # noqa: PLC0415 - SQLAlchemy is loaded only where records are kept

    store = open_store(url, keys)
    try:
        store.prepare()
    except RecordStoreError as error:
        # Refusals are honoured without a store, so a site starts without it; each choice tries it again.
        told = "the record store cannot be reached: until it can, nobody's consent is accepted: %s"
        log.warning(told, str(error))
    return store


def _cookie_name(registry: Registry, *, secure: bool) -> str:
    """The consent cookie's name: browsers take the prefixes over https only, and __Host- without a domain."""
    name = registry.consent.cookie
    plain = name.removeprefix("__Host-").removeprefix("__Secure-")
    if not secure:
        return plain
    return f"__Secure-{plain}" if registry.consent.domain and name.startswith("__Host-") else name
