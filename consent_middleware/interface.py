"""What a middleware wraps, looked at once when it is made: an app for this door, with nothing outside of it.

No framework is imported for that. Where an app does not tell what it is, it is taken at the site's word.
"""

import inspect
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from .errors import ConfigurationError, ConfigurationWarning

Interface = Literal["WSGI", "ASGI", "ASGI 2"]

_DOORS = {name: f"consent_middleware.{name.lower()}.ConsentMiddleware" for name in ("WSGI", "ASGI")}
_DEEPEST = 100
"""How many middlewares one inside the other are looked through."""
_INSIDE_STARLETTE = (
    "added by add_middleware, ConsentMiddleware does not see the error pages of Starlette and FastAPI, nor "
    "the cookies on them: wrap the finished app instead, app = ConsentMiddleware(app, policy)"
)


def check_app(app: object, wanted: Literal["WSGI", "ASGI"]) -> None:
    """ConfigurationError for an app of another interface; a warning where error pages pass us by."""
    found = interface_of(app)
    if found is not None and found != wanted:
        raise ConfigurationError(
            f"{_name_of(app)} is an app for {found}, and {_DOORS[wanted]} wraps apps for {wanted}: "
            f"use {_remedy(found)}"
        )
    if _is_inside_starlette(app):
        warnings.warn(_INSIDE_STARLETTE, ConfigurationWarning, stacklevel=3)


def _remedy(found: Interface) -> str:
    if found == "ASGI 2":
        return f"{_DOORS['ASGI']}, around asgiref.compatibility.guarantee_single_callable of it"
    return _DOORS[found]


def _name_of(app: object) -> str:
    named = app if inspect.isroutine(app) or isinstance(app, type) else type(app)
    return getattr(named, "__qualname__", type(app).__qualname__)


def interface_of(app: object) -> Interface | None:
    """The interface that an app is written for, None where its signature does not say."""
    if not callable(app):
        return None
    try:
        return _of_class(app) if isinstance(app, type) else _of_callable(app)
    except Exception:  # noqa: BLE001 - what is written in C has no signature; annotations may raise anything
        return None


def _of_class(app: type) -> Interface | None:
    """The same where an instance answers one request: PEP 3333, ASGI 2 and Starlette's endpoints do so."""
    takes = _numbers_taken(app)
    if takes == {2} and hasattr(app, "__iter__"):
        return "WSGI"
    if takes == {3} and hasattr(app, "__await__"):
        return "ASGI"
    return "ASGI 2" if takes == {1} and inspect.iscoroutinefunction(app.__call__) else None


def _of_callable(app: Callable[..., Any]) -> Interface | None:
    takes = _numbers_taken(app)
    if takes == {3} or _is_async(app):
        return "ASGI"
    return "WSGI" if takes == {2} else None


def _is_async(app: Callable[..., Any]) -> bool:
    while isinstance(app, partial):
        app = app.func
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _numbers_taken(app: Callable[..., Any]) -> set[int]:
    """Which numbers of positional arguments up to three a callable takes itself, whatever it wraps."""
    signature = inspect.signature(app, follow_wrapped=False)
    return {number for number in (1, 2, 3) if _takes(signature, number)}


def _takes(signature: inspect.Signature, number: int) -> bool:
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def _is_inside_starlette(app: object) -> bool:
    """Whether an app is what Starlette puts between its own handlers of errors."""
    outer, inner = (sys.modules.get(f"starlette.middleware.{name}") for name in ("errors", "exceptions"))
    if outer is None or inner is None:
        return False
    for _ in range(_DEEPEST):
        if isinstance(app, outer.ServerErrorMiddleware):
            return False
        if isinstance(app, inner.ExceptionMiddleware):
            return True
        app = getattr(app, "app", None)
    return False
