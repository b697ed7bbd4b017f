"""What a visitor answered, read from a form or from JSON.

A form comes from a page that may be older than the registry, so ids that are not known any more are passed
over; a program is told.
"""

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from werkzeug import Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnprocessableEntity, UnsupportedMediaType

from ..core.choice import Answer, Choice
from ..core.registry import Registry

LIMIT = 64 * 1024
"""Octets of a body."""
_MOST_FIELDS = 1000
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
CONTINUED_BROWSING = "continued-browsing"


class Post(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One POST, whatever its form. `offer` and `next` are as they came, to be verified."""

    choice: Choice
    purposes: dict[str, bool] = {}
    vendors: dict[str, bool] = {}
    cookies: dict[str, bool] = {}
    offer: str = ""
    next: str = ""
    source: str = ""

    @property
    def answer(self) -> Answer:
        """What was said."""
        return Answer(choice=self.choice, purposes=self.purposes, vendors=self.vendors, cookies=self.cookies)

    @property
    def continues_browsing(self) -> bool:
        """Whether the banner's script says that the visitor went on to another page of the site."""
        return self.source == CONTINUED_BROWSING

    @property
    def needs_offer(self) -> bool:
        """Whether the answer restates everything and may grant, so that it must be known what was shown."""
        return self.choice in {Choice.ACCEPT_ALL, Choice.SAVE}


_decoder = msgspec.json.Decoder(Post)


def read_post(request: Request, registry: Registry) -> Post:
    """The answer in a request's body. Raises the Werkzeug error that says what is wrong with it."""
    match request.mimetype:
        case "application/json":
            return _checked(_from_json(read_body(request)), registry)
        case "application/x-www-form-urlencoded":
            return _from_form(_form_fields(read_body(request), registry))
    raise UnsupportedMediaType(f"Send {FORM} or {JSON}.")


def read_body(request: Request) -> bytes:
    """The whole body, which `request` remembers; RequestEntityTooLarge above the limit."""
    # One octet more may come: where no length is stated, Werkzeug cuts a body at its limit and is silent.
    request.max_content_length = LIMIT + 1
    body = request.get_data()
    if len(body) > LIMIT:
        raise RequestEntityTooLarge
    return body


def _form_fields(body: bytes, registry: Registry) -> MultiDict[str, str]:
    """The fields of a form; RequestEntityTooLarge for more than there can be questions, twice over."""
    most = _MOST_FIELDS + 2 * (len(registry.purposes) + len(registry.vendors) + len(registry.cookies))
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=most)
    except ValueError as error:
        raise RequestEntityTooLarge from error
    return MultiDict(pairs)


def _from_json(body: bytes) -> Post:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise UnprocessableEntity(f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error


def _checked(post: Post, registry: Registry) -> Post:
    _check_ids(post, registry)
    allowed = [*post.vendors.values(), *post.cookies.values()]
    if post.choice == Choice.ADD and (post.purposes or not allowed or not all(allowed)):
        raise UnprocessableEntity("add takes vendors and cookies to allow, and nothing else.")
    if post.source not in {"", CONTINUED_BROWSING}:
        raise UnprocessableEntity(f"source is left out, or {CONTINUED_BROWSING}.")
    return post


def _check_ids(post: Post, registry: Registry) -> None:
    rules = {rule.name for rule in registry.cookies}
    known: list[tuple[str, dict[str, bool], Any]] = [
        ("purposes", post.purposes, registry.purposes),
        ("vendors", post.vendors, registry.vendors),
        ("cookies", post.cookies, rules),
    ]
    for field, answers, ids in known:
        unknown = sorted(set(answers).difference(ids))
        if unknown:
            raise UnprocessableEntity(f"The registry has no {', '.join(unknown)} in {field}.")


def _from_form(form: MultiDict[str, str]) -> Post:
    choices = set(form.getlist("choice"))
    if len(choices) != 1 or not choices.issubset(set(Choice)):
        raise UnprocessableEntity(f"choice must be one of {', '.join(Choice)}.")
    return Post(
        choice=Choice(choices.pop()),
        purposes=_yes_and_no(form.getlist("purpose"), form.getlist("refuse_purpose")),
        vendors=_exceptions(form, "vendor"),
        cookies=_exceptions(form, "cookie"),
        offer=form.get("offer", ""),
        next=form.get("next", ""),
        source=form.get("source", ""),
    )


def _exceptions(form: MultiDict[str, str], kind: str) -> dict[str, bool]:
    """Vendors or cookies that do not follow their purpose: by fields that repeat, or one radio group each."""
    prefix = f"{kind}."
    groups = [(name.removeprefix(prefix), form.getlist(name)) for name in form if name.startswith(prefix)]
    yes = [id for id, said in groups if "allow" in said]
    no = [id for id, said in groups if "refuse" in said]
    return _yes_and_no([*form.getlist(kind), *yes], [*form.getlist(f"refuse_{kind}"), *no])


def _yes_and_no(yes: list[str], no: list[str]) -> dict[str, bool]:
    """A refusal wins over a yes to the same."""
    return dict.fromkeys(yes, True) | dict.fromkeys(no, False)
