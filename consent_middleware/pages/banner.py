"""The banner and the link to the preferences, as parts of a site's own pages."""

from markupsafe import Markup
from werkzeug import Response

from ..core.registry import Basis
from .declared import PurposeEntry
from .visit import Visit

LAYOUTS = ("sticky", "inline")


def banner(visit: Visit, layout: str = "sticky", *, with_script: bool = True) -> Markup:
    """The banner if the visitor is to be asked, else an empty element that tells the state.

    `layout` is `sticky`, on top of the page while it scrolls, or `inline`, in its flow.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"the layouts of the banner are {' and '.join(LAYOUTS)}, not {layout!r}")
    exchange = visit.exchange
    exchange.read()
    view, optional = exchange.view, visit.declared.optional()
    exempt = _on_before_a_choice(visit)
    return visit.presentation.render(
        "banner.html",
        ask=view.ask,
        again=view.decided and visit.has_additions,
        layout=layout,
        state=visit.state_word,
        signal=visit.honoured_signal,
        notice=_is_notice(visit),
        titles=[purpose.title for purpose in optional if purpose not in exempt],
        exempt=[purpose.title for purpose in exempt],
        partners=len({vendor.id for purpose in optional for vendor in purpose.vendors} - {""}),
        offer=visit.offer(f"banner-{layout}"),
        here=visit.here if with_script else "",
        with_script=with_script,
    )


def _is_notice(visit: Visit) -> bool:
    """Whether nothing is asked: all that the visitor may decide about is on until it is refused."""
    optional = visit.declared.optional()
    by_law = visit.exchange.model != "opt-in"
    return bool(optional) and (by_law or all(purpose.basis is Basis.OBJECTION for purpose in optional))


def _exempt(visit: Visit) -> list[PurposeEntry]:
    """Those that need no consent and may be objected to."""
    return [purpose for purpose in visit.declared.optional() if purpose.basis is Basis.OBJECTION]


def _on_before_a_choice(visit: Visit) -> list[PurposeEntry]:
    """The exempt ones that are on without being asked about; none for a notice, of which all are."""
    if _is_notice(visit):
        return []
    allows = visit.exchange.view.permissions.allows
    return [purpose for purpose in _exempt(visit) if allows(purpose.id)]


def variant(visit: Visit) -> str:
    """The end of the keys of texts that differ with what is on before a choice; "" where nothing is."""
    if _is_notice(visit):
        return "_notice"
    return "_mixed" if _exempt(visit) else ""


def settings_link(visit: Visit) -> Markup:
    """A link to the preferences page that leads back."""
    return visit.presentation.render("settings_link.html", here=visit.here)


def fragment(visit: Visit) -> Response:
    """The banner for the script on a page that a cache serves to everybody."""
    layout = visit.arguments.get("layout", LAYOUTS[0])
    part = banner(visit, layout if layout in LAYOUTS else LAYOUTS[0], with_script=False)
    return Response(part, mimetype="text/html")
