"""An element that loads from a vendor: itself with consent, otherwise one that waits and loads nothing."""

import re
from collections.abc import Mapping

from markupsafe import Markup

_KINDS = ("script", "iframe", "img")
_LOADING = ("src", "srcset")
_NAME = re.compile(r"[a-z][a-z0-9-]*")


class TagError(ValueError):
    """An element that cannot be written. The message holds what the template says, nothing of a visitor."""


def tag(vendor: str, src: str, kind: str, attributes: Mapping[str, object], *, awake: bool) -> Markup:
    """The element of a vendor: a `script`, `iframe` or `img`.

    Attributes are named as in HTML, or with `_` for `-`. Their values are text, escaped unless they are
    markup already; True is an attribute without a value, False and None leave it out. TagError for
    another kind, for what is no name of an attribute, and for `srcdoc`, in which anything could load.
    """
    if kind not in _KINDS:
        raise TagError(f"a tag is one of {', '.join(_KINDS)}, not {kind!r}")
    given = {"src": src, **{_name(name): value for name, value in attributes.items()}}
    if not awake:
        given = {"data-consent-vendor": vendor, **_asleep(kind, given)}
    shown = Markup().join(_attribute(name, value) for name, value in given.items())
    element = Markup("<{0}{1}>") if kind == "img" else Markup("<{0}{1}></{0}>")
    return element.format(kind, shown)


def _name(given: str) -> str:
    name = given.lower().replace("_", "-")
    if name == "srcdoc" or not _NAME.fullmatch(name):
        raise TagError(f"a tag cannot have the attribute {given!r}")
    return name


def _asleep(kind: str, given: Mapping[str, object]) -> dict[str, object]:
    """The attributes as the script of the banner wakes them."""
    if kind != "script":
        return {f"data-{name}" if name in _LOADING else name: value for name, value in given.items()}
    # A script of an unknown type is not fetched (HTML, section 4.12.1.1), and it keeps an address from the
    # page itself, which a page that demands trusted types would not let a script set.
    real = {"data-type": given["type"]} if "type" in given else {}
    return {**given, **real, "type": "text/plain"}


def _attribute(name: str, value: object) -> Markup:
    if value is None or value is False:
        return Markup()
    if value is True:
        return Markup(" {}").format(name)
    return Markup(' {}="{}"').format(name, value)
