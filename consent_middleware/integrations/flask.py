"""Flask: the parts of the consent pages as template calls."""

from typing import Any

from flask import Flask, request
from markupsafe import Markup

from ..pages.embed import Embedded, template_call


def init_app(app: Flask) -> None:
    """Let templates call the parts of the consent pages, and tags of third parties.

    `consent_banner()`, `consent_settings_link()` and `consent_policy()`, which take `lang`; `consent_mode()`
    and `consent_tag()`. None of them raises: a mistake shows nothing, and is in the log.

    The app itself is wrapped as ever: `app.wsgi_app = ConsentMiddleware(app.wsgi_app, ...)`. The banner goes
    first into the body; `layout="inline"` leaves it in the flow of the page.
    """

    @template_call
    def banner(layout: str = "sticky", lang: str = "") -> Markup:
        return Embedded(request.environ).banner(layout, lang)

    @template_call
    def settings_link(lang: str = "") -> Markup:
        return Embedded(request.environ).settings_link(lang)

    @template_call
    def policy(lang: str = "") -> Markup:
        return Embedded(request.environ).policy(lang)

    @template_call
    def mode(nonce: str = "", microsoft: str = "", matomo: str = "") -> Markup:
        return Embedded(request.environ).consent_mode(nonce, microsoft, matomo)

    @template_call
    def tag(vendor: str, src: str, **attributes: Any) -> Markup:
        return Embedded(request.environ).tag(vendor, src, **attributes)

    app.jinja_env.globals.update(
        consent_banner=banner,
        consent_settings_link=settings_link,
        consent_policy=policy,
        consent_mode=mode,
        consent_tag=tag,
    )
