"""An app in the wrong door, or with a framework's error pages outside of it, is told at construction."""

import asyncio
import warnings
from functools import partial, wraps

import pytest
from asgiref.compatibility import guarantee_single_callable
from asgiref.wsgi import WsgiToAsgi
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from werkzeug.local import LocalProxy
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from consent_middleware import ConfigurationError, ConfigurationWarning
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi


def wsgi_function(environ, start_response):
    start_response("200 OK", [])
    return []


async def asgi_function(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})


class WsgiObject:
    def __call__(self, environ, start_response):
        return []

    def run(self, environ, start_response):
        return []

    @staticmethod
    def serve(environ, start_response):
        return []


class WsgiClass:
    """An instance is the body of one answer, as in PEP 3333."""

    def __init__(self, environ, start_response):
        pass

    def __iter__(self):
        return iter(())


class AsgiObject:
    async def __call__(self, scope, receive, send):
        pass

    async def run(self, scope, receive, send):
        pass

    @staticmethod
    async def serve(scope, receive, send):
        pass


class HandsOn:
    """What hands on the awaitable of an app inside of it."""

    def __init__(self, app):
        self.app = app

    def __call__(self, scope, receive, send):
        return self.app(scope, receive, send)


class Asgi2Class:
    def __init__(self, scope):
        pass

    async def __call__(self, receive, send):
        pass


def configured_wsgi(config, environ, start_response):
    return []


async def configured_asgi(config, scope, receive, send):
    pass


@wraps(asgi_function)
def served_as_wsgi(environ, start_response):
    """An adapter that names what it adapts."""
    return []


@wraps(wsgi_function)
async def served_as_asgi(scope, receive, send):
    """An adapter that names what it adapts."""


WSGI = {
    "function": wsgi_function,
    "lambda": lambda environ, start_response: [],
    "object": WsgiObject(),
    "bound method": WsgiObject().run,
    "static method": WsgiObject.serve,
    "class": WsgiClass,
    "partial": partial(configured_wsgi, {}),
    "partial of an object": partial(WsgiObject()),
    "adapter": served_as_wsgi,
    "Flask": Flask(__name__),
    "Flask.wsgi_app": Flask(__name__).wsgi_app,
    "Django": WSGIHandler.__new__(WSGIHandler),
    "proxy": LocalProxy(lambda: wsgi_function),
    "ProxyFix": ProxyFix(wsgi_function),
    "dispatcher": DispatcherMiddleware(wsgi_function),
}
ASGI = {
    "function": asgi_function,
    "object": AsgiObject(),
    "bound method": AsgiObject().run,
    "static method": AsgiObject.serve,
    "partial": partial(configured_asgi, {}),
    "partial of an object": partial(AsgiObject()),
    "plain callable": HandsOn(asgi_function),
    "adapter": served_as_asgi,
    "any arguments": partial(AsgiObject().run),
    "Starlette": Starlette(),
    "FastAPI": FastAPI(),
    "endpoint": HTTPEndpoint,
    "Django": ASGIHandler.__new__(ASGIHandler),
    "BaseHTTPMiddleware": BaseHTTPMiddleware(asgi_function),
    "SessionMiddleware": SessionMiddleware(FastAPI(), "a key"),
    "WsgiToAsgi": WsgiToAsgi(wsgi_function),
    "single callable of ASGI 2": guarantee_single_callable(Asgi2Class),
}


async def any_arguments(*args, **options):
    pass


class Odd:
    def nothing(self):
        return []


class Unsigned:
    """A callable whose signature cannot be had, as where annotations name what is imported for checkers alone."""

    @property
    def __signature__(self):
        raise NameError("Environ")

    def __call__(self, environ, start_response):
        return []


UNCERTAIN = {
    "nothing": None,
    "a builtin": print,
    "a type": str,
    "any arguments": lambda *args, **options: [],
    "two or three": lambda environ, start_response, exc_info=None: [],
    "one": lambda request: [],
    "none": Odd().nothing,
    "an annotation that fails": Unsigned(),
    "a framework's class": FastAPI,
}


@pytest.mark.parametrize("kind", WSGI)
def test_a_wsgi_app_is_for_the_wsgi_door(kind, policy):
    """And the other door says so."""
    assert Wsgi(WSGI[kind], policy).app is WSGI[kind]
    with pytest.raises(ConfigurationError, match=r"for WSGI, .*: use consent_middleware\.wsgi\.Consent"):
        Asgi(WSGI[kind], policy)


@pytest.mark.parametrize("kind", ASGI)
def test_an_asgi_app_is_for_the_asgi_door(kind, policy):
    """And the other door says so."""
    assert Asgi(ASGI[kind], policy).app is ASGI[kind]
    with pytest.raises(ConfigurationError, match=r"for ASGI, .*: use consent_middleware\.asgi\.Consent"):
        Wsgi(ASGI[kind], policy)


def test_async_is_never_wsgi(policy):
    """Whatever arguments it takes."""
    with pytest.raises(ConfigurationError, match="any_arguments is an app for ASGI"):
        Wsgi(any_arguments, policy)
    assert Asgi(any_arguments, policy).app is any_arguments


@pytest.mark.parametrize("door", [Asgi, Wsgi])
def test_an_asgi_2_app_is_for_neither(door, policy):
    """It would fail at the first request; what makes one of it that does not is named."""
    with pytest.raises(ConfigurationError, match=r"Asgi2Class is .* ASGI 2.*\.guarantee_single_callable"):
        door(Asgi2Class, policy)


@pytest.mark.parametrize("kind", UNCERTAIN)
@pytest.mark.parametrize("door", [Asgi, Wsgi])
def test_what_does_not_say_is_accepted(door, kind, policy):
    """The site knows what it wraps."""
    assert door(UNCERTAIN[kind], policy).app is UNCERTAIN[kind]


def test_a_second_middleware_is_one_of_its_door(policy):
    """A copy inside a copy is fine, but for one of the other door."""
    assert Wsgi(Wsgi(wsgi_function, policy), policy)
    assert Asgi(Asgi(asgi_function, policy), policy)
    with pytest.raises(ConfigurationError, match="ConsentMiddleware is an app for WSGI"):
        Asgi(Wsgi(wsgi_function, policy), policy)
    with pytest.raises(ConfigurationError, match="ConsentMiddleware is an app for ASGI"):
        Wsgi(Asgi(asgi_function, policy), policy)


def test_nothing_is_opened_for_the_wrong_door(tmp_path):
    """The app is looked at before the registry, the keys and the store are."""
    with pytest.raises(ConfigurationError, match="function is an app for WSGI"):
        Asgi(wsgi_function, tmp_path / "missing.toml")


def index(request):
    if "fail" in request.query_params:
        raise LookupError
    return PlainTextResponse("hello")


def added_first(policy, framework):
    app = framework()
    app.add_middleware(Asgi, policy=policy)
    return app


def added_last(policy, framework):
    app = framework()
    app.add_middleware(GZipMiddleware)
    app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    app.add_middleware(Asgi, policy=policy)
    return app


def listed(policy, framework):
    return framework(middleware=[Middleware(Asgi, policy=policy), Middleware(GZipMiddleware)])


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize("added", [added_first, added_last, listed])
def test_add_middleware_is_warned_of_once(added, framework, policy):
    """The framework's error pages leave outside: whoever serves the app is told, and how to do better."""
    app = added(policy, framework)
    app.add_route("/", index)
    client = TestClient(app, raise_server_exceptions=False)
    with pytest.warns(
        ConfigurationWarning, match=r"error pages .* app = ConsentMiddleware\(app, pol"
    ) as told:
        assert [client.get(path).status_code for path in ("/", "/", "/?fail")] == [200, 200, 500]
    assert [one.category for one in told] == [ConfigurationWarning]


class Nested:
    """Middlewares as people nest them around a finished app."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


def around(policy, app):
    return Asgi(app, policy)


def around_middleware(policy, app):
    return Asgi(Nested(GZipMiddleware(app)), policy)


def mounted(policy, app):
    return Starlette(routes=[Mount("/", Asgi(app, policy))])


def around_the_stack(policy, app):
    """Outside the handlers of errors, with `app` as it was."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Asgi(build(), policy)
    return app


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize("wrap", [around, around_middleware, mounted, around_the_stack])
def test_an_app_with_its_error_pages_is_not_warned_of(wrap, framework, policy):
    """Whatever stands between."""
    app = framework(routes=[Route("/", index)])
    app.add_middleware(GZipMiddleware)
    client = TestClient(wrap(policy, app), raise_server_exceptions=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [client.get(path).status_code for path in ("/", "/?fail")] == [200, 500]


def test_a_ring_of_apps_ends(policy):
    """However an object answers for `app`."""
    ring = Nested(None)
    ring.app = ring
    assert Asgi(ring, policy).app is ring


def test_a_plain_callable_is_served(policy):
    """What is no coroutine function by itself is an app all the same."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": []}
    asyncio.run(Asgi(HandsOn(asgi_function), policy)(scope, None, send))
    assert [message["status"] for message in sent] == [200]
