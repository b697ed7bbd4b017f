"""The style sheet and the script."""

from werkzeug import Response

from .presentation import mark
from .visit import Visit

_YEAR = 31_536_000
_HOUR = 3600


def style(visit: Visit) -> Response:
    """`banner.css`."""
    return _file(visit, visit.exchange.policy.appearance.style, "text/css")


def script(visit: Visit) -> Response:
    """`banner.js`."""
    return _file(visit, visit.exchange.policy.appearance.script, "text/javascript")


def _file(visit: Visit, text: str, mimetype: str) -> Response:
    """For ever under the address with its hash; under the bare name, as in a page's own tag, for an hour."""
    response = Response(text, mimetype=mimetype)
    response.set_etag(mark(text))
    if visit.arguments.get("v") == mark(text):
        response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    else:
        response.headers["Cache-Control"] = f"public, max-age={_HOUR}"
    return response.make_conditional(visit.request)
