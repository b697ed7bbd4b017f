"""ConsentPolicy: registry, keys and options, checked at start and prepared for the request path."""

import os
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypedDict, Unpack

from .core.choice import coarsened, refusal
from .core.compiled import compile_registry
from .core.consent import Consent
from .core.registry import LawModel
from .core.set_cookie import imf_fixdate
from .core.token import LONGEST_WRITTEN, Signer, TokenSigner
from .core.verdict import Decision
from .errors import BadTokenError, ConfigurationError, ConfigurationWarning, RecordStoreError
from .observations import Observations
from .observe import DecisionLog, Log
from .recording import ChoiceHook, Recorder
from .records.signing import checked_secrets
from .records.snapshot import snapshot_of
from .registry_file import Registry
from .registry_file.findings import nearest
from .request import Target

if TYPE_CHECKING:
    from .appearance import Appearance
    from .records.store import RecordStore

DecisionHook = Callable[[Decision, Target], Decision | None]

_SHORT_KEY = 16
_NO_PART_OF_A_KEY = frozenset(",;'\"")
"""Seldom meant in CONSENT_SECRET_KEYS: there blanks alone separate keys."""


_utc_now = partial(datetime.now, UTC)


def _time_of(clock: Callable[[], datetime], log: Log) -> datetime:
    """The time by a site's clock, in UTC; by ours where that fails."""
    try:
        return clock().astimezone(UTC)
    except Exception as error:  # noqa: BLE001 - whatever a site's function raises
        log.failure("clock failed: the machine's time is taken", error)
        return _utc_now()


class PolicyOptions(TypedDict, total=False):
    """What a site may hand to a ConsentPolicy besides its registry and keys."""

    model: Callable[[Target], LawModel] | None
    """Asked once per request for its law model, instead of the registry. A doubt counts as opt-in."""
    on_decision: DecisionHook | None
    """Sees every decision on a Set-Cookie, and may return another."""
    on_choice: ChoiceHook | None
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
        _check_options(options)
        records, clock = options.get("records"), options.get("clock", _utc_now)
        self.registry = registry
        self.compiled = compile_registry(registry)
        self.log = Log(clock)
        self.clock = clock if clock is _utc_now else partial(_time_of, clock, self.log)
        self.random = options.get("random", os.urandom)
        self.model = options.get("model")
        self.on_decision = options.get("on_decision")
        self.prepared: object = None
        """What requests ask of it, made ready when it is first used (`engine.engine_of`)."""
        self.observing = registry.consent.mode == "observe"
        self.decision_log = DecisionLog(self.log, observing=self.observing)
        self.observations = Observations(self.log)
        self.tell_of_proxy = lru_cache(1)(self._warn_of_proxy)
        keys = _checked_keys(secret_keys)
        self._signer = TokenSigner(keys, registry.site.id)
        self.verify, self.verified = self._signer.verify, self._signer.verified
        """Give a token's choice, whatever its age; BadTokenError for what we did not sign."""
        self.offers = Signer(keys, f"consent_middleware.offer.v1.{registry.site.id}")
        self.appearance = _checked_appearance(options.get("pages"), registry)
        self.snapshot = snapshot_of(registry, self.appearance.digest)
        self.records = _open_records(records, keys, self.log) if records else None
        self.recorder = Recorder(self.records, self.snapshot, options.get("on_choice"), self.log)
        self._cookie_names = {secure: _cookie_name(registry, secure=secure) for secure in (False, True)}

    def __repr__(self) -> str:
        registry = self.registry
        return f"ConsentPolicy(site={registry.site.id!r}, mode={registry.consent.mode!r})"

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
        _check_options(options)
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
        return cls(Registry.from_file(path), secret_keys=keys, **options)

    def _warn_of_proxy(self) -> None:
        self.log.warning(
            "a proxy says that visitors come over https, but the server speaks http, so the consent cookie "
            "is called '%s' and is not Secure: set [consent] https = \"always\" in the registry",
            self.cookie_name(secure=False),
        )

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
        end = self.compiled.ends(consent)
        seconds = max(0, int((end - now).total_seconds()))
        domain = self.registry.consent.domain
        place = f"; Path=/; Domain={domain}" if domain else "; Path=/"
        flags = "; Secure; HttpOnly; SameSite=Lax" if secure else "; HttpOnly; SameSite=Lax"
        return (
            f"{self._cookie_names[secure]}={self.token(consent)}; Max-Age={seconds}"
            f"; Expires={imf_fixdate(end)}{place}{flags}"
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
        try:
            choice = self.verify(token)
        except BadTokenError:
            return None
        live = self.compiled.is_kept(choice, now) and now < self.compiled.ends(choice)
        return choice if live else None

    def new_id(self) -> str:
        """A fresh random id for a choice."""
        return urlsafe_b64encode(self.random(16)).decode().rstrip("=")


def _check_options(given: Collection[str]) -> None:
    """ConfigurationError for what is no option; without it a misspelt `records` would keep no proof."""
    known = [*PolicyOptions.__annotations__, "secret_keys"]
    if unknown := [name for name in given if name not in known]:
        hints = {name: nearest(name, known) for name in unknown}
        told = ", ".join(f"no option {name!r}{hint and f' ({hint})'}" for name, hint in hints.items())
        raise ConfigurationError(f"{told}; there are {', '.join(sorted(known))}")


def _checked_keys(given: Sequence[str] | str) -> list[str]:
    keys = checked_secrets(given)
    if any(len(key) < _SHORT_KEY for key in keys):
        warnings.warn(
            f"a secret key has fewer than {_SHORT_KEY} characters: whoever guesses it can forge consent",
            ConfigurationWarning,
            stacklevel=4,
        )
    return keys


def _checked_appearance(directory: str | os.PathLike[str] | None, registry: Registry) -> "Appearance":
    from .appearance import Appearance  # noqa: PLC0415 - imported on first use

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
