"""Starlette and FastAPI: the parts of the consent pages as template calls."""

from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.templating import Jinja2Templates

from ..asgi import environ_of
from ..pages.embed import Embedded


def init_templates(templates: Jinja2Templates) -> None:
    """Let templates call `consent_banner()`, `consent_settings_link()` and `consent_policy()`.

    The app itself is wrapped as ever: `app = ConsentMiddleware(app, ...)`. The banner goes first into the
    body; `layout="inline"` leaves it in the flow of the page. All take `lang`.
    """
    templates.env.globals.update(
        consent_banner=_banner, consent_settings_link=_settings_link, consent_policy=_policy
    )


def _embedded(context: Context) -> Embedded:
    scope: Any = context["request"].scope
    return Embedded(environ_of(scope), scope)


@pass_context
def _banner(context: Context, layout: str = "sticky", lang: str = "") -> Markup:
    return _embedded(context).banner(layout, lang)


@pass_context
def _settings_link(context: Context, lang: str = "") -> Markup:
    return _embedded(context).settings_link(lang)


@pass_context
def _policy(context: Context, lang: str = "") -> Markup:
    return _embedded(context).policy(lang)
