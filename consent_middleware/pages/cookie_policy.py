"""The cookie policy, made from the registry so that it cannot say anything else than what is enforced."""

from typing import Any

from markupsafe import Markup
from werkzeug import Response

from ..core.compiled import compile_registry
from ..core.permissions import Grounds, permissions_on
from ..core.registry import Basis
from ..core.visitor import VisitorView
from .declared import Declared
from .presentation import Presentation
from .visit import Visit

BROWSERS = (
    ("Google Chrome", "chrome", "https://support.google.com/chrome/answer/95647"),
    ("Mozilla Firefox", "firefox", "https://support.mozilla.org/kb/clear-cookies-and-site-data-firefox"),
    ("Apple Safari", "safari", "https://support.apple.com/105082"),
    ("Microsoft Edge", "edge", "https://support.microsoft.com/microsoft-edge"),
    ("Samsung Internet", "samsung", "https://www.samsung.com/support/"),
    ("Opera", "opera", "https://help.opera.com/"),
)
"""What is said about each browser, and where its maker says more."""


def page(visit: Visit) -> Response:
    """The page."""
    presentation = visit.presentation
    return visit.page("policy.html", **_context(presentation), languages=presentation.languages())


def block(presentation: Presentation) -> Markup:
    """The policy without a page around it, for one of the site's own; headings start at the second level."""
    return presentation.render("policy_block.html", **_context(presentation))


def markdown(presentation: Presentation) -> str:
    """The policy as Markdown."""
    return str(presentation.render("policy.md", **_context(presentation))).strip() + "\n"


def _context(presentation: Presentation) -> dict[str, Any]:
    registry, wording = presentation.registry, presentation.wording
    # The policy says the same to everybody, whatever they chose.
    nobody = VisitorView(permissions=permissions_on(compile_registry(registry), Grounds()))
    declared, site = Declared(registry, wording, nobody), registry.site
    bases = {purpose.basis for purpose in registry.purposes.values()}
    return {
        "updated": wording.date(site.policy_updated) if site.policy_updated else "",
        "contact": wording.pick(site.contact),
        "lifetime": wording.period(registry.consent.lifetime),
        "refusal_lifetime": wording.period(registry.consent.refusal_lifetime),
        "retention": wording.period(registry.records.retention),
        "asks": Basis.CONSENT in bases,
        "exempt": Basis.OBJECTION in bases,
        "purposes": declared.purposes(),
        "vendors": declared.vendors(),
        "data": declared.data(),
        "has_device": "device" in registry.purposes,
        "browsers": BROWSERS,
    }
