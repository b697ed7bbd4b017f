"""The consent pages: one Werkzeug app, served under WSGI and ASGI. Imported on first use."""

from typing import Any

from werkzeug import Response

from ..exchange import Exchange


def respond(environ: dict[str, Any], exchange: Exchange) -> Response:
    """Answer a request for one of the consent pages."""
    del environ, exchange
    return Response("not built yet", status=501)
