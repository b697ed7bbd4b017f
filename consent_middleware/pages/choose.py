"""`POST /consent/`: a choice, from a form or a program."""

from werkzeug import Response
from werkzeug.exceptions import Conflict, Forbidden
from werkzeug.utils import redirect

from ..core.consent import NO_SIGNALS
from ..records.event import Offer, Source
from . import preferences
from .answers import JSON, Post, read_post
from .offer import read_offer
from .origin import path_of_this_host
from .visit import Visit

_LAYOUTS = {"banner": Source.BANNER, "preferences": Source.PREFERENCES}


def answer(visit: Visit) -> Response:
    """Make what the visitor said the choice."""
    exchange, json = visit.exchange, visit.request.mimetype == JSON
    registry = exchange.policy.registry
    reason = visit.caller.why_not(registry.consent.cors_origins)
    if reason:
        raise Forbidden(
            f"A choice is made on the site itself, or by an app that sends JSON without cookies: {reason}."
        )
    post = read_post(visit.request, registry)
    offer = read_offer(exchange.policy, post.offer, exchange.now)
    if post.continues_browsing:
        _check_continued(visit, post, offer)
    if offer is None and post.needs_offer and not visit.caller.is_native():
        if json:
            raise Conflict("What was shown is not known or has changed: read the offer, and ask again.")
        return preferences.page(visit, note="stale", status=409, next_page=post.next)
    source = _source(post, offer, json=json)
    fits = exchange.answer(post.answer, source=source, offer=offer, language=visit.language)
    if json:
        return visit.state()
    if not fits:
        return preferences.page(visit, note="coarsened", next_page=post.next)
    return redirect(_next_page(visit, post), 303)


def _next_page(visit: Visit, post: Post) -> str:
    """Where a form leads; the preferences page says there that the choice is saved."""
    page = path_of_this_host(post.next) or visit.presentation.url()
    if page.partition("?")[0] != visit.preferences_path:
        return page
    return f"{page}{'&' if '?' in page else '?'}{preferences.SAVED}=1"


def _source(post: Post, offer: Offer | None, *, json: bool) -> Source:
    if post.continues_browsing:
        return Source.CONTINUED_BROWSING
    if post.choice == "withdraw":
        return Source.WITHDRAW
    if offer is None:
        return Source.API if json else Source.PREFERENCES
    return _LAYOUTS.get(offer.layout.partition("-")[0], Source.API)


def _check_continued(visit: Visit, post: Post, offer: Offer | None) -> None:
    """Let going on to another page stand for a yes only where the registry says so.

    And only where nothing speaks against it: no choice, no signal, no page that the browser loads ahead.
    """
    exchange, fields = visit.exchange, visit.request.headers
    demands = (
        (exchange.policy.registry.consent.acceptance, "continued-browsing"),
        (post.choice, "accept-all"),
        (visit.caller.site, "same-origin"),
        (fields.get("Sec-Fetch-Dest", "empty"), "empty"),
        (fields.get("Sec-Purpose"), None),
        (exchange.view.consent, None),
        (exchange.signals, NO_SIGNALS),
        (offer and offer.layout.partition("-")[0], "banner"),
    )
    if any(found != wanted for found, wanted in demands):
        raise Forbidden("Going on to another page does not count as a choice here.")
