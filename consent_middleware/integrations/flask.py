"""Flask: the parts of the consent pages as template calls."""

from flask import Flask, request
from markupsafe import Markup

from ..pages.embed import Embedded


def init_app(app: Flask) -> None:
    """Let templates call `consent_banner()`, `consent_settings_link()` and `consent_policy()`.

    The app itself is wrapped as ever: `app.wsgi_app = ConsentMiddleware(app.wsgi_app, ...)`. The banner goes
    first into the body; `layout="inline"` leaves it in the flow of the page. All take `lang`.
    """

    def banner(layout: str = "sticky", lang: str = "") -> Markup:
        return Embedded(request.environ).banner(layout, lang)

    def settings_link(lang: str = "") -> Markup:
        return Embedded(request.environ).settings_link(lang)

    def policy(lang: str = "") -> Markup:
        return Embedded(request.environ).policy(lang)

    app.jinja_env.globals.update(
        consent_banner=banner, consent_settings_link=settings_link, consent_policy=policy
    )
