"""The consent pages: one Werkzeug app, served under WSGI and ASGI. Imported on first use."""

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, ServiceUnavailable
from werkzeug.utils import redirect

from ..engine import GPC_PATH
from ..errors import RecordStoreError
from ..exchange import Exchange
from . import banner, choose, cookie_policy, openapi, preferences, questions, receipt, reports, static_files
from .problems import problem
from .visit import Visit, json_response, page_request

Page = Callable[[Visit], Response]


def _to_preferences(visit: Visit) -> Response:
    return redirect(visit.preferences_path + visit.query, 308)


def _gpc_support(visit: Visit) -> Response:
    updated = visit.exchange.policy.registry.site.policy_updated
    return json_response({"gpc": True} | ({"lastUpdate": updated.isoformat()} if updated else {}))


_PAGES: Mapping[str, Mapping[str, Page]] = {
    "": {"GET": _to_preferences, "POST": _to_preferences},
    "/": {"GET": preferences.show, "POST": choose.answer},
    "/state": {"GET": Visit.state},
    "/offer": {"GET": questions.show},
    "/policy": {"GET": cookie_policy.page},
    "/receipt": {"GET": receipt.show},
    "/banner": {"GET": banner.fragment},
    "/banner.js": {"GET": static_files.script},
    "/banner.css": {"GET": static_files.style},
    "/openapi.json": {"GET": openapi.show},
    "/report": {"POST": reports.receive},
}
_FOR_PROGRAMS = frozenset({"/state", "/offer", "/receipt", "/openapi.json"})
"""What speaks JSON whoever asks; origins that the registry names may read it, and choose."""
# The style sheet is ours; forms may only lead back here, and nobody may put a page of ours into a frame.
_CONTENT_SECURITY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def respond(environ: dict[str, Any], exchange: Exchange) -> Response:
    """Answer a request for one of the consent pages."""
    visit = Visit(page_request(environ), exchange)
    path = exchange.request.path
    page = path.removeprefix(exchange.policy.registry.consent.path)
    json = path == GPC_PATH or page in _FOR_PROGRAMS or visit.speaks_json
    try:
        response = _response(visit, {"GET": _gpc_support} if path == GPC_PATH else _PAGES.get(page))
    except RecordStoreError as failure:
        exchange.policy.log.store_failure(failure)
        error = ServiceUnavailable("The choice could not be recorded, so it was not made. Try again later.")
        response = problem(visit, error, json=json)
    except HTTPException as error:
        response = problem(visit, error, json=json)
    if page == "/" or page in _FOR_PROGRAMS:
        _share(visit, response)
    return _sealed_off(visit, response)


def _response(visit: Visit, methods: Mapping[str, Page] | None) -> Response:
    if methods is None:
        raise NotFound("There is no such page.")
    method = "GET" if visit.request.method == "HEAD" else visit.request.method
    allowed = [*methods, "HEAD", "OPTIONS"]
    if method == "OPTIONS":
        return Response(status=204, headers={"Allow": ", ".join(allowed)})
    if method not in methods:
        raise MethodNotAllowed(allowed, "This method is not for this page.")
    return methods[method](visit)


def _share(visit: Visit, response: Response) -> None:
    """Let the origins that the registry names read the answer, never with credentials (Fetch, "CORS")."""
    origins = visit.exchange.policy.registry.consent.cors_origins
    if origins:
        response.headers.add("Vary", "Origin")
    if visit.caller.origin not in origins:
        return
    response.headers["Access-Control-Allow-Origin"] = visit.caller.origin
    if visit.request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, Consent-Token"
        response.headers["Access-Control-Max-Age"] = "600"


def _sealed_off(visit: Visit, response: Response) -> Response:
    """The answer with what keeps it out of caches, frames and the hands of other scripts."""
    if "Cache-Control" not in response.headers:
        visit.exchange.read()
        response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = _CONTENT_SECURITY
        response.headers["X-Frame-Options"] = "DENY"
        # With "no-referrer" browsers would post forms with `Origin: null`.
        response.headers["Referrer-Policy"] = "same-origin"
    return response
