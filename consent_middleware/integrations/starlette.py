"""Starlette and FastAPI: the parts of the consent pages as template calls."""

from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.templating import Jinja2Templates

from ..pages.embed import Embedded, template_call
from ..pages.over_asgi import environ_of


def init_templates(templates: Jinja2Templates) -> None:
    """Let templates call the parts of the consent pages, and tags of third parties.

    `consent_banner()`, `consent_settings_link()` and `consent_policy()`, which take `lang`; `consent_mode()`
    and `consent_tag()`. None of them raises: a mistake shows nothing, and is in the log.

    The app itself is wrapped as ever: `app = ConsentMiddleware(app, ...)`. The banner goes first into the
    body; `layout="inline"` leaves it in the flow of the page.
    """
    templates.env.globals.update(
        consent_banner=_banner,
        consent_settings_link=_settings_link,
        consent_policy=_policy,
        consent_mode=_mode,
        consent_tag=_tag,
    )


def _embedded(context: Context) -> Embedded:
    scope: Any = context["request"].scope
    return Embedded(environ_of(scope), scope)


@pass_context
@template_call
def _banner(context: Context, layout: str = "sticky", lang: str = "") -> Markup:
    return _embedded(context).banner(layout, lang)


@pass_context
@template_call
def _settings_link(context: Context, lang: str = "") -> Markup:
    return _embedded(context).settings_link(lang)


@pass_context
@template_call
def _policy(context: Context, lang: str = "") -> Markup:
    return _embedded(context).policy(lang)


@pass_context
@template_call
def _mode(context: Context, nonce: str = "", microsoft: str = "", matomo: str = "") -> Markup:
    return _embedded(context).consent_mode(nonce, microsoft, matomo)


@pass_context
@template_call
def _tag(context: Context, vendor: str, src: str, **attributes: Any) -> Markup:
    return _embedded(context).tag(vendor, src, **attributes)
