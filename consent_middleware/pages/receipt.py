"""`GET /consent/receipt`: the visitor's own copy of the record."""

from werkzeug import Response
from werkzeug.exceptions import NotFound

from ..records.receipt import receipt
from .visit import Visit, json_response


def show(visit: Visit) -> Response:
    """The record of the choice that the visitor's token names."""
    exchange = visit.exchange
    records, made = exchange.policy.records, exchange.view.consent
    if records is None:
        raise NotFound("This site keeps no records of choices.")
    event = records.latest(made.id) if made and made.id else None
    snapshot = records.snapshot(event.snapshot) if event else None
    if event is None or snapshot is None:
        raise NotFound("There is no record of a consent of yours.")
    return json_response(receipt(event, snapshot, exchange.now))
