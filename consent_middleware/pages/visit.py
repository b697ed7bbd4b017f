"""One request for a consent page, or for a page of the site that shows some of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
from werkzeug import Request, Response
from werkzeug.datastructures import MIMEAccept, MultiDict
from werkzeug.http import parse_accept_header

from ..core.caller import Caller
from ..exchange import Exchange
from .answers import JSON
from .declared import Declared, state_word
from .language import negotiate, shortened
from .offer import make_offer
from .origin import path_of_this_host
from .presentation import Presentation
from .state import state_of
from .wording import Wording

_READ = {
    "HTTP_ACCEPT": (1024, ","),
    "HTTP_ACCEPT_LANGUAGE": (1024, ","),
    "HTTP_IF_NONE_MATCH": (1024, ","),
    "CONTENT_TYPE": (256, ";"),
    "QUERY_STRING": (8192, "&"),
}
"""Octets that are read of what a page's request may hold any number of, and what stands between its members.

Its readers are slow. A part of a member would say something else: a weight that is cut off may have refused.
"""


def page_request(environ: Mapping[str, Any]) -> Request:
    """The request of a WSGI environ, with long fields cut behind the last whole member that is read."""
    return Request({**environ, **{key: _cut(environ.get(key, ""), *cut) for key, cut in _READ.items()}})


def _cut(value: str, limit: int, between: str) -> str:
    return value if len(value) <= limit else value[: limit + 1].rpartition(between)[0]


@dataclass(frozen=True)
class Visit:
    """A request, and the exchange that it is part of. `wanted` is the language that the site asks for."""

    request: Request
    exchange: Exchange
    wanted: str = ""

    @cached_property
    def caller(self) -> Caller:
        """Where the request comes from."""
        return self.exchange.caller

    @cached_property
    def arguments(self) -> MultiDict[str, str]:
        """What the query says; octets that are no UTF-8, over which `Request.args` stumbles, are replaced."""
        text = self.request.query_string.decode("utf-8", "replace")
        return MultiDict(parse_qsl(text, keep_blank_values=True))

    @property
    def query(self) -> str:
        """The query as it came, with its question mark, fit for an address; "" without one."""
        query = quote(self.request.query_string, safe="/?:@!$&'()*+,;=~%")
        return f"?{query}" if query else ""

    @property
    def preferences_path(self) -> str:
        """Where the preferences page is, whatever the language."""
        return self.presentation.url().partition("?")[0]

    @property
    def speaks_json(self) -> bool:
        """Whether the body is JSON, or the answer is wanted as such."""
        if self.request.mimetype:
            return self.request.mimetype == JSON
        wanted = parse_accept_header(shortened(self.request.headers.get("Accept", "")), MIMEAccept)
        return wanted.best_match(["text/html", JSON]) == JSON

    @cached_property
    def presentation(self) -> Presentation:
        """The pages in the language that was asked for, else in the visitor's as far as the site has it."""
        policy = self.exchange.policy
        languages = policy.registry.site.languages
        asked = self.wanted or self.arguments.get("lang", "")
        asked = asked if asked in languages else ""
        language = asked or negotiate(self.request.headers.get("Accept-Language", ""), languages)
        return Presentation(
            registry=policy.registry,
            appearance=policy.appearance,
            wording=Wording(policy.appearance.speak(language), language, policy.registry),
            mount=self.exchange.request.mount,
            asked_language=asked,
            records_kept=policy.records is not None,
        )

    @property
    def language(self) -> str:
        """The language of the pages."""
        return self.presentation.wording.language

    @property
    def here(self) -> str:
        """The page of the site that is being shown, to come back to; "" if that cannot be told."""
        query = self.request.query_string.decode("latin-1")
        path = self.exchange.request.full_path
        return path_of_this_host(path + (f"?{query}" if query else "")) or ""

    @property
    def declared(self) -> Declared:
        """What the registry declares, with the visitor's answers."""
        exchange = self.exchange
        return Declared(exchange.policy.registry, self.presentation.wording, exchange.view)

    @property
    def state_word(self) -> str:
        """What the visitor's choice comes to."""
        return state_word(self.exchange.compiled, self.exchange.view)

    @property
    def has_additions(self) -> bool:
        """Whether purposes or vendors were added since the visitor chose."""
        made = self.exchange.view.consent
        return made is not None and self.exchange.compiled.has_additions(made.version)

    @property
    def honoured_signal(self) -> str:
        """The signal on the request that refuses something here and now; "" without one."""
        exchange, made = self.exchange, self.exchange.view.consent
        signals = exchange.signals.without(made.signals) if made else exchange.signals
        if not exchange.compiled.refused_by_signals(signals):
            return ""
        return "gpc" if signals.gpc and exchange.policy.registry.consent.gpc == "refuse" else "dnt"

    def offer(self, layout: str) -> str:
        """The statement that the registry is shown in this language and layout."""
        return make_offer(self.exchange.policy, self.language, layout)

    def state(self) -> Response:
        """What holds for the visitor.

        The token goes to those who carry it themselves, never to a script of this site, from which the
        cookie is kept too.
        """
        carries = not self.caller.has_cookies and self.caller.site != "same-origin"
        return json_response(state_of(self.exchange, with_token=carries))

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """A whole page."""
        return Response(self.presentation.render(template, **context), status, mimetype="text/html")


def json_response(content: Any, status: int = 200, mimetype: str = JSON) -> Response:
    """An answer of JSON."""
    return Response(msgspec.json.encode(content), status, mimetype=mimetype)
