"""The preferences page: every purpose, partner and cookie, with the visitor's answers."""

from urllib.parse import parse_qsl

from werkzeug import Response

from .banner import variant
from .origin import path_of_this_host
from .visit import Visit

SAVED = "saved"
"""The query field that says that the visitor has just chosen."""
_OPEN_UP_TO = 60
"""Cookies up to which the page opens with everything unfolded."""


def show(visit: Visit) -> Response:
    """The page as it is asked for; it confirms the choice that led to it."""
    saved = SAVED in visit.arguments and visit.exchange.view.consent is not None
    return page(visit, note="saved" if saved else "")


def page(visit: Visit, *, note: str = "", status: int = 200, next_page: str = "") -> Response:
    """The page, with a note on top. `next_page` is where a form would have led, if the address is silent."""
    exchange = visit.exchange
    made, declared = exchange.view.consent, visit.declared
    came_from = _came_from(visit, visit.arguments.get("next", "") or next_page)
    return visit.page(
        "preferences.html",
        status,
        note=note,
        state=visit.state_word,
        told=_told(visit),
        variant=variant(visit),
        signal=visit.honoured_signal,
        purposes=declared.purposes(),
        opened=len(exchange.policy.registry.cookies) <= _OPEN_UP_TO,
        can_withdraw=made is not None and made.grants,
        receipt=exchange.policy.records is not None and made is not None and made.grants,
        offer=visit.offer("preferences"),
        next=came_from,
        here=visit.presentation.url(**({"next": came_from} if came_from else {})),
        languages=visit.presentation.languages(),
    )


def _came_from(visit: Visit, next_page: str) -> str:
    """The page of the site to go back to; forms of this page lead to itself, which names it. "" for none."""
    path, _, query = next_page.partition("?")
    if path == visit.preferences_path:
        next_page = dict(parse_qsl(query)).get("next", "")
    return path_of_this_host(next_page) or ""


def _told(visit: Visit) -> str:
    """What the visitor chose, when, and until when."""
    view, wording = visit.exchange.view, visit.presentation.wording
    if view.consent is None or not view.consent.asked:
        return wording.text(f"preferences.undecided{variant(visit)}")
    if not view.decided:
        return wording.text(f"preferences.ended{variant(visit)}")
    date = wording.date(view.consent.decided_at)
    if visit.has_additions:
        return wording.text("preferences.again", date=date)
    _, end = visit.exchange.compiled.dates(view.consent)
    return wording.text(f"preferences.{visit.state_word}", date=date, until=wording.date(end))
