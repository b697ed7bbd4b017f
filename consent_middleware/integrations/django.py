"""Django: the parts of the consent pages as template tags.

A template library that `TEMPLATES` names; there is no app to install:
`"OPTIONS": {"libraries": {"consent": "consent_middleware.integrations.django"}}`, or under `"builtins"`,
which saves `{% load consent %}`. The application itself is wrapped as ever, in `wsgi.py` or `asgi.py`.

The tags are `{% consent_banner %}`, first thing in the body, `{% consent_settings_link %}`,
`{% consent_policy %}`, and for third parties `{% consent_mode %}` and `{% consent_tag %}`. The first three
take `lang`. None of them raises: a mistake shows nothing, and is in the log.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.template import Library
from django.utils.safestring import SafeString
from markupsafe import Markup

from ..errors import ConsentStateError
from ..pages.embed import Embedded, template_call
from ..pages.over_asgi import environ_of

register = Library()


def _embedded(context: Any) -> Embedded:
    request = getattr(context, "request", None)
    if request is None:
        raise ConsentStateError("no request here: render the template with one, as `render` does")
    scope = getattr(request, "scope", None)
    return Embedded(request.environ) if scope is None else Embedded(environ_of(scope), scope)


def _banner(context: Any, layout: str = "sticky", lang: str = "") -> Markup:
    return _embedded(context).banner(layout, lang)


def _settings_link(context: Any, lang: str = "") -> Markup:
    return _embedded(context).settings_link(lang)


def _policy(context: Any, lang: str = "") -> Markup:
    return _embedded(context).policy(lang)


def _mode(context: Any, nonce: str = "", microsoft: str = "", matomo: str = "") -> Markup:
    return _embedded(context).consent_mode(nonce, microsoft, matomo)


def _tag(context: Any, vendor: str, src: str, **attributes: Any) -> Markup:
    return _embedded(context).tag(vendor, src, **attributes)


def _on_text(call: Callable[..., Markup]) -> Callable[..., Markup]:
    """Django takes a literal of a template for escaped, which it is not: here every argument is text."""

    @wraps(call)
    def on_text(context: Any, *values: Any, **named: Any) -> Markup:
        return call(context, *map(_text, values), **{name: _text(value) for name, value in named.items()})

    return on_text


def _text(value: Any) -> Any:
    return "".join(value) if isinstance(value, SafeString) else value


_CALLS: dict[str, Callable[..., Markup]] = {
    "consent_banner": _banner,
    "consent_settings_link": _settings_link,
    "consent_policy": _policy,
    "consent_mode": _mode,
    "consent_tag": _tag,
}
for _name, _call in _CALLS.items():
    register.simple_tag(_on_text(template_call(_call)), takes_context=True, name=_name)
