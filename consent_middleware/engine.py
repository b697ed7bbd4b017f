"""What requests ask of a policy, made ready once: the filter, the gate, and what is remembered of visitors.

Invalid tokens are not remembered, so strangers cannot fill the memory. Everything is bounded, and no key
holds a value of a cookie other than ours.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import NamedTuple, get_args

from .core import cache_control
from .core.compiled import CompiledRegistry
from .core.consent import NO_SIGNALS, Consent, Signals
from .core.deletion import CookieScope, Deletion, RequestScope, UnwantedCookie, declared_scopes, expire
from .core.fail_closed import FailClosed
from .core.filtering import CookiesSeen, Filter, Remembered
from .core.gating import Gate, Recipient, makes_document
from .core.header_fields import Field, FieldKind, as_text, is_field_text
from .core.permissions import Permissions, permissions_on
from .core.registry import LONGEST_REMEMBERED, CookieRule, LawModel
from .core.structured_fields import forwarded_proto
from .core.visitor import Circumstances, VisitorView, view_visitor
from .errors import BadTokenError, ConfigurationError
from .policy import ConsentPolicy
from .request import KEY, Request, Target

GPC_PATH = "/.well-known/gpc.json"
"""Where a host says that it honours the signal (Global Privacy Control, "GPC support resource")."""

PROXY_FIELDS = frozenset(
    {
        *("forwarded", "x-forwarded-proto", "x-forwarded-protocol", "x-forwarded-scheme", "x-forwarded-ssl"),
        *("x-scheme", "x-url-scheme", "front-end-https", "cloudfront-forwarded-proto", "origin"),
    }
)
"""Request fields, in lower case, that can tell how a visitor came to a proxy before us."""
_SECURE_SCHEMES = frozenset({"https", "wss"})
_SECURE_WORDS = _SECURE_SCHEMES | {"on"}
_SURE, _IN_DOUBT = (), (None,)
"""What a request holds that has no token, and one whose only token does not verify."""
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_VISITORS = 4096
_MOST_TOKENS = 4
"""Tokens of one request that are remembered together: browsers send two, anybody could send hundreds."""
_MOST_KINDS_OF_CHOICE = 256
_MOST_ANSWERS = 256
_MODELS = ", ".join(get_args(LawModel))
_TWO_REGISTRIES = (
    "a ConsentMiddleware inside another one has a different registry: wrap once, outermost, "
    "or give both the same"
)


class Deletions(NamedTuple):
    """The deletions of one answer, and the header fields that say them."""

    rules: frozenset[str]
    """The names of the rules of cookies that are told to go."""
    fields: tuple[list[Field], list[Field]]
    """As text, and as octets."""

    @classmethod
    def of(cls, deletions: Sequence[Deletion]) -> "Deletions":
        """The fields of some deletions; what no field can say stays behind."""
        lines = [one.line for one in deletions if is_field_text(one.line)]
        rules = frozenset(one.leftover.rule.name for one in deletions if one.leftover.rule is not None)
        octets = [(b"set-cookie", line.encode("latin-1")) for line in lines]
        return cls(rules, ([("Set-Cookie", line) for line in lines], octets))


NO_DELETIONS = Deletions.of(())


class HiddenFields(NamedTuple):
    """Names of request fields that the app is not to see, in each door's form."""

    octets: frozenset[bytes]
    """In lower case."""
    keys: frozenset[str]
    """As keys of an environ."""

    @classmethod
    def of(cls, names: frozenset[str]) -> "HiddenFields":
        """The same for names in lower case."""
        keys = frozenset("HTTP_" + name.upper().replace("-", "_") for name in names)
        return cls(frozenset(name.encode() for name in names), keys)


_NOTHING_HIDDEN = HiddenFields.of(frozenset())


class _Known:
    """The choices of verified tokens, and the view of their visitor that was worked out last."""

    __slots__ = ("choices", "view")

    def __init__(self, choices: list[Consent]) -> None:
        self.choices = choices
        self.view: VisitorView | None = None


class Visitors:
    """Views of visitors, by the consent tokens that they send.

    `verified` gives the choice of a token, and whether the newest key signed it; it raises BadTokenError for
    what we did not sign. `note_older_key` is called for each token that another key signed.
    """

    def __init__(
        self,
        compiled: CompiledRegistry,
        verified: Callable[[str], tuple[Consent, bool]],
        note_older_key: Callable[[], None],
    ) -> None:
        self._compiled = compiled
        self._permissions = lru_cache(_MOST_KINDS_OF_CHOICE)(partial(permissions_on, compiled))
        # What does not verify leaves by an exception, which a cache does not keep.
        self._verified, self._note_older_key = verified, note_older_key
        self._known = lru_cache(_MOST_VISITORS)(self._know)
        self._undecided = lru_cache(64)(self._view_undecided)

    def _know(self, _signals: Signals, _model: LawModel, *tokens: str) -> _Known:
        found = [self._verified(token) for token in tokens]
        if not all(newest for _, newest in found):
            self._note_older_key()
        return _Known([choice for choice, _ in found])

    def view(
        self, tokens: Sequence[str], now: datetime, signals: Signals, model: LawModel
    ) -> tuple[VisitorView, bool]:
        """What the tokens on one request are worth, and whether we signed any of them."""
        if not tokens:
            return self._undecided(signals, model, _SURE), False
        if len(tokens) > _MOST_TOKENS:
            return self._view_anew(tokens, now, signals, model)
        try:
            known = self._known(signals, model, *tokens)
        except BadTokenError:
            return self._view_anew(tokens, now, signals, model)
        view = known.view
        if view is None or not view.since <= now < view.until:
            view = known.view = self.view_of(known.choices, now, signals, model)
        return view, True

    def _view_anew(
        self, tokens: Sequence[str], now: datetime, signals: Signals, model: LawModel
    ) -> tuple[VisitorView, bool]:
        """The same of tokens that are not remembered: there are many, or at least one does not verify."""
        choices = [self._choice_of(token) for token in tokens] if len(tokens) > 1 else [None]
        if not any(choices):
            return self._undecided(signals, model, _IN_DOUBT), False
        return self.view_of(choices, now, signals, model), True

    def _choice_of(self, token: str) -> Consent | None:
        try:
            return self._verified(token)[0]
        except BadTokenError:
            return None

    def view_of(
        self, choices: Sequence[Consent | None], now: datetime, signals: Signals, model: LawModel
    ) -> VisitorView:
        """What these choices are worth together; None stands for one that we did not sign."""
        around = Circumstances(now=now, signals=signals, model=model)
        return view_visitor(self._compiled, choices, around, self._permissions)

    def _view_undecided(self, signals: Signals, model: LawModel, choices: tuple[None, ...]) -> VisitorView:
        # Where nothing was chosen, nothing depends on the time.
        return self.view_of(choices, _ANY_TIME, signals, model)


class Engine:
    """One policy, ready for requests; shared by threads."""

    def __init__(self, policy: ConsentPolicy) -> None:
        self.policy = policy
        self.compiled = policy.compiled
        settings = policy.registry.consent
        self.visitors = Visitors(self.compiled, policy.verified, policy.observations.note_older_key)
        self.own_names = tuple(frozenset({policy.cookie_name(secure=secure)}) for secure in (False, True))
        """The name of our cookie that counts over http, and over https."""
        self.gate = Gate(policy.registry)
        self.gates = self.gate.mode != "off" and not policy.observing
        """Whether third parties are gated."""
        self.has_stages = self.gates or bool(self.compiled.by_objection)
        """Whether every answer passes the stages between the first and the last."""
        self.hides_fields = self.gates and self.gate.mode == "enforce"
        """Whether there are request fields that the app may not see."""
        self.filter = Filter(
            self.compiled, self.own_names[False] | self.own_names[True], self._verifies, self._kind_of
        )
        signals = tuple(self._signal_fields())
        self.honours_signals = bool(signals)
        self.depends_on = ("Cookie", "Consent-Token", *signals)
        """The names of the request fields that answers depend on, for `Vary`."""
        self.fail_closed = FailClosed(
            governed=self.filter.governed | self.gate.withheld,
            depends_on=self.depends_on,
            policy=self.gate.closed_policy,
            permissions=self.gate.closed_features([]),
            permitted=self.gate.closed_features,
        )
        private = cache_control.personal((), self.depends_on)
        self.private_fields = (private, [(name.lower().encode(), value.encode()) for name, value in private])
        """What tells caches that an answer is for one visitor only: as text, and as octets."""
        self.model = settings.model
        self.view_in_doubt, _ = self.visitors.view([""], _ANY_TIME, NO_SIGNALS, "opt-in")
        """What is known of a visitor where we failed to judge the request."""
        self.nothing_remembered = Remembered(_ANY_TIME, frozenset())
        """Decisions of a day long ago: there are none."""
        self.page_starts = (settings.path, GPC_PATH) if settings.gpc == "refuse" else (settings.path,)
        """How the paths of our pages begin."""
        self._page_paths, self._below_pages = frozenset(self.page_starts), f"{settings.path}/"
        self._always_https = settings.https == "always"
        self.hidden_in_doubt = HiddenFields.of(self.gate.hidden_in_doubt)
        """What is hidden where we failed to judge the request."""
        self._hidden = lru_cache(_MOST_KINDS_OF_CHOICE)(self._work_out_hidden)
        self._documents = lru_cache(_MOST_ANSWERS)(_read_types)
        self._gate_fields = lru_cache(_MOST_ANSWERS)(self._work_out_gate_fields)
        self._told = lru_cache(_MOST_ANSWERS)(self._work_out_deletions)

    def __repr__(self) -> str:
        return f"<Engine of {self.policy!r}>"

    def _signal_fields(self) -> Iterable[str]:
        settings = self.policy.registry.consent
        if settings.gpc == "refuse" and self.compiled.sale:
            yield "Sec-GPC"
        if settings.dnt == "refuse":
            yield "DNT"

    def _kind_of(self, name: str) -> FieldKind:
        """What a field that sets no cookies is for the stages after the filter, by its name in lower case."""
        if cache_control.is_about_caches(name):
            return FieldKind.CACHING
        if name == "content-type":
            return FieldKind.TYPE
        return FieldKind.GATED if self.gates and name in self.gate.looks_at else FieldKind.PLAIN

    def _verifies(self, token: str) -> bool:
        """Whether we signed a token, whatever its age."""
        try:
            self.policy.verify(token)
        except BadTokenError:
            return False
        return True

    def is_page(self, request: Request) -> bool:
        """Whether a request is for one of the consent pages; its path starts with one of `page_starts`."""
        path = request.path
        return bool(request.method) and (path in self._page_paths or path.startswith(self._below_pages))

    def is_nested(self, target: Target) -> bool:
        """Whether an outer copy of the middleware is judging this request.

        ConfigurationError if that one has another registry: the two would undo each other's work.
        """
        outer = target.get(KEY)
        if outer is None or outer.is_finished:
            return False
        registry = self.policy.registry
        if outer.compiled.registry is not registry and outer.compiled.registry != registry:
            raise ConfigurationError(_TWO_REGISTRIES)
        return True

    def is_secure(self, request: Request) -> bool:
        """Whether the visitor's browser speaks https, as far as we can know."""
        if request.secure or self._always_https:
            return True
        if request.is_proxied and _came_by_https(request):
            self.policy.tell_of_proxy()
        return False

    def model_of(self, ask: Callable[[Target], LawModel], target: Target) -> LawModel:
        """The law model of a request, as the site's own function has it; a doubt counts as opt-in."""
        log = self.policy.log
        try:
            model = ask(target)
        except Exception as error:  # noqa: BLE001 - whatever a site's function raises
            log.failure("model failed: the request counts as opt-in", error)
            return "opt-in"
        if model in get_args(LawModel):
            return model
        log.warning("model returned what is none of %s: the request counts as opt-in", _MODELS)
        return "opt-in"

    def hidden_fields(self, permissions: Permissions) -> HiddenFields:
        """The request fields that the app is not to see, with these permissions."""
        return self._hidden(permissions) if self.hides_fields else _NOTHING_HIDDEN

    def _work_out_hidden(self, permissions: Permissions) -> HiddenFields:
        return HiddenFields.of(self.gate.hidden_request_headers(permissions))

    def recipient(self, view: VisitorView, mount: str, *, host: str = "", destination: str = "") -> Recipient:
        """Who gets the answer to a request below a mount."""
        return Recipient(
            permissions=view.permissions,
            host=host,
            destination=destination,
            withdrawn=view.decided and not view.permissions.allows("device"),
            report_uri=f"{mount}{self.policy.registry.consent.path}/report",
        )

    def gate_fields(self, view: VisitorView, mount: str) -> tuple[list[Field], list[Field]]:
        """What gates third parties on a page that says nothing of them itself: as text, and as octets."""
        if len(mount) > LONGEST_REMEMBERED:
            return self._work_out_gate_fields(view.permissions, view.decided, mount)
        return self._gate_fields(view.permissions, view.decided, mount)

    def makes_document(self, types: Sequence[str | bytes], request: Request) -> bool:
        """Whether a browser enforces the policy of an answer of these types, which is no redirect."""
        short = sum(map(len, types)) <= LONGEST_REMEMBERED
        always, ever = (self._documents if short else _read_types)(tuple(types))
        # What it is wanted for matters where the type is in doubt.
        return always or (
            ever and makes_document(tuple(map(as_text, types)), request.field("sec-fetch-dest"))
        )

    def _work_out_gate_fields(
        self,
        permissions: Permissions,
        decided: bool,  # noqa: FBT001 - a cache tells its keys apart by place
        mount: str,
    ) -> tuple[list[Field], list[Field]]:
        page = [("Content-Type", "text/html")]
        recipient = self.recipient(VisitorView(permissions, decided=decided), mount)
        added = [*self.gate.response_headers(200, page, recipient)][len(page) :]
        return added, [(name.lower().encode(), value.encode("latin-1")) for name, value in added]

    def places(self, name: str, rule: CookieRule | None) -> tuple[CookieScope, ...]:
        """Where a cookie is declared or was seen to be set."""
        return (*declared_scopes(rule), *self.policy.observations.places(name)) if rule else ()

    def deletions(self, cookies: CookiesSeen, around: RequestScope, room: int) -> Deletions:
        """What `expire` makes of cookies that came, remembered: visitors of a page have the same ones.

        For an answer that makes no choice and sets no cookie of their names. `room` is in octets.
        """
        names = cookies.unwanted_names
        if names is None or len(around.path) + len(around.host) > LONGEST_REMEMBERED:
            return self.expire(cookies.unwanted, around, (), room)
        return self._told(names, around, room, self.policy.observations.changes)

    def _work_out_deletions(
        self, names: tuple[str, ...], around: RequestScope, room: int, _changes: int
    ) -> Deletions:
        classify = self.policy.registry.classify
        unwanted = [UnwantedCookie(name, named=True, rule=classify(name)) for name in names]
        return self.expire(unwanted, around, (), room)

    def expire(
        self, unwanted: Sequence[UnwantedCookie], around: RequestScope, lines: Sequence[str], room: int
    ) -> Deletions:
        """What `core.deletion.expire` makes of cookies on an answer with these Set-Cookie values."""
        return Deletions.of(
            expire(unwanted, around, lines, lambda one: self.places(one.name, one.rule), room)
        )


def _read_types(types: tuple[str | bytes, ...]) -> tuple[bool, bool]:
    """Whether an answer of these types is a document whatever it is wanted for, and whether it ever is."""
    texts = tuple(map(as_text, types))
    return makes_document(texts, "image"), makes_document(texts, "")


def _came_by_https(request: Request) -> bool:
    """Whether a field says that the visitor's browser speaks https."""
    if forwarded_proto(request.field("forwarded")) in _SECURE_SCHEMES:
        return True
    if request.field("origin").lower() == f"https://{request.field('host').lower()}":
        return True
    for name in PROXY_FIELDS:
        # The first of several says how the visitor came; the others, how proxies reach each other.
        said = [word.strip(' \t"').lower() for word in request.field(name).split(",")]
        if next(filter(None, said), "") in _SECURE_WORDS:
            return True
    return False


def engine_of(policy: ConsentPolicy) -> Engine:
    """What is made ready of a policy: once, whatever it wraps."""
    if not isinstance(policy.prepared, Engine):
        policy.prepared = Engine(policy)
    return policy.prepared


def policy_for(app: object, policy: ConsentPolicy | str | os.PathLike[str]) -> ConsentPolicy:
    """The policy that a middleware around `app` is to keep; a path is read as by `from_file`."""
    chosen = policy if isinstance(policy, ConsentPolicy) else ConsentPolicy.from_file(policy)
    wrapped = getattr(app, "policy", None)
    if isinstance(wrapped, ConsentPolicy) and wrapped.registry != chosen.registry:
        raise ConfigurationError(_TWO_REGISTRIES)
    return chosen
