"""What browsers report of third parties that a page would not load (Content Security Policy, section 5)."""

from werkzeug import Response
from werkzeug.exceptions import NotFound

from ..core.reports import read_reports
from .answers import read_body
from .visit import Visit


def receive(visit: Visit) -> Response:
    """Take in reports. Anybody can send one, so nothing is believed but that somebody said so."""
    exchange = visit.exchange
    if exchange.engine.gate.mode != "report":
        raise NotFound("No reports are taken here.")
    body = read_body(visit.request)
    exchange.policy.observations.note_reports(
        read_reports(body, visit.request.content_type or ""), exchange.now
    )
    return Response(status=204)
