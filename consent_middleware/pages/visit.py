"""One request for a consent page, with all that the pages ask of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from werkzeug import Request, Response
from werkzeug.urls import iri_to_uri

from ..exchange import Exchange
from .answers import JSON
from .offer import make_offer
from .origin import Caller, path_of_this_host
from .state import state_of


@dataclass(frozen=True)
class Visit:
    """A request for one of the pages, and the exchange that it is part of."""

    request: Request
    exchange: Exchange

    @cached_property
    def caller(self) -> Caller:
        """Where the request comes from."""
        fields = self.request.headers
        return Caller(
            site=fields.get("Sec-Fetch-Site", ""),
            origin=fields.get("Origin", ""),
            host=fields.get("Host", ""),
            has_cookies="Cookie" in fields,
        )

    @property
    def speaks_json(self) -> bool:
        """Whether the body is JSON, or the answer is wanted as such."""
        if self.request.mimetype:
            return self.request.mimetype == JSON
        return self.request.accept_mimetypes.best_match(["text/html", JSON]) == JSON

    @cached_property
    def language(self) -> str:
        """The language of the pages."""
        return self.exchange.policy.registry.site.languages[0]

    def url(self, page: str = "") -> str:
        """The path of one of the pages, from the root of the host."""
        return iri_to_uri(f"{self.request.root_path}{self.exchange.policy.registry.consent.path}/{page}")

    def next(self, text: str) -> str | None:
        """Where a form asked to go on to, if that is a page of this host."""
        return path_of_this_host(text)

    def offer(self, layout: str) -> str:
        """The statement that the registry is shown in this language and layout."""
        return make_offer(self.exchange.policy, self.language, layout)

    def state(self) -> Response:
        """What holds for the visitor.

        The token goes to those who carry it themselves, never to a script of this site, from which the
        cookie is kept too.
        """
        carries = not self.caller.has_cookies and self.caller.site != "same-origin"
        return json_response(state_of(self.exchange, self.offer("api"), with_token=carries))


def json_response(content: Any, status: int = 200, mimetype: str = JSON) -> Response:
    """An answer of JSON."""
    return Response(msgspec.json.encode(content), status, mimetype=mimetype)
