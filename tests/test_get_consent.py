"""`get_consent`: what it takes, and what becomes of ids that the registry does not have."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from consent_middleware import get_consent
from consent_middleware.asgi import ConsentMiddleware as AsgiConsentMiddleware
from consent_middleware.errors import ConsentStateError
from consent_middleware.request import raise_on_unknown_ids, unknown_ids
from consent_middleware.wsgi import ConsentMiddleware as WsgiConsentMiddleware

STANDARD = ["essential", "preferences", "analytics", "social", "advertising", "device"]


@pytest.fixture
def asked():
    """What views of each framework ask, and what they were answered."""
    answers = []

    def ask(request):
        consent = get_consent(request)
        answers.append((consent.decided, consent.allows("analytics")))

    ask.answers = answers
    return ask


def flask_site(ask, policy):
    from flask import Flask, request

    app = Flask("site")
    app.testing = True

    @app.get("/")
    def page():
        ask(request)
        ask(request._get_current_object())  # noqa: SLF001 - Flask's own name for it
        return ""

    app.wsgi_app = WsgiConsentMiddleware(app.wsgi_app, policy)
    return app.wsgi_app


def werkzeug_site(ask, policy):
    from werkzeug import Request, Response

    @Request.application
    def app(request):
        ask(request)
        return Response()

    return WsgiConsentMiddleware(app, policy)


def starlette_site(ask, policy):
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    def page(request):
        ask(request)
        return Response()

    return AsgiConsentMiddleware(
        Starlette(routes=[Mount("/in", routes=[Route("/", page)]), Route("/", page)]), policy
    )


def fastapi_site(ask, policy):
    from fastapi import FastAPI, Request

    app = FastAPI()

    @app.get("/")
    def page(request: Request):
        ask(request)

    return AsgiConsentMiddleware(app, policy)


def django_site(ask, policy, *, asgi=False):
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    def page(request):
        ask(request)
        return HttpResponse()

    if not settings.configured:
        # As other tests of this process want it.
        libraries = {"consent": "consent_middleware.integrations.django"}
        engine = {"BACKEND": "django.template.backends.django.DjangoTemplates"}
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DEBUG_PROPAGATE_EXCEPTIONS=True,
            LOGGING_CONFIG=None,
            SECRET_KEY="x",
            TEMPLATES=[{**engine, "OPTIONS": {"libraries": libraries}}],
        )
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    settings.ROOT_URLCONF = (path("", page),)
    if asgi:
        return AsgiConsentMiddleware(get_asgi_application(), policy)
    return WsgiConsentMiddleware(get_wsgi_application(), policy)


def django_asgi_site(ask, policy):
    return django_site(ask, policy, asgi=True)


WSGI = [flask_site, werkzeug_site, django_site]
ASGI = [starlette_site, fastapi_site, django_asgi_site]


@pytest.mark.parametrize("make", [*WSGI, *ASGI], ids=lambda make: make.__name__)
def test_a_request_of_each_framework(policy, visitors, asked, make):
    """The request that a view has in its hands is enough."""
    app = make(asked, policy)
    headers = {"Cookie": visitors["some"]}
    if make in WSGI:
        from werkzeug.test import Client

        answer = Client(app, use_cookies=False).get("/", base_url="https://www.example.com", headers=headers)
    else:
        from starlette.testclient import TestClient

        answer = TestClient(app).get("https://www.example.com/", headers=headers)
    assert answer.status_code == 200
    assert set(asked.answers) == {(True, True)}


def test_a_websocket_of_starlette(policy, visitors, asked):
    """So is a connection."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.testclient import TestClient

    async def talk(websocket):
        await websocket.accept()
        asked(websocket)
        await websocket.close()

    app = AsgiConsentMiddleware(Starlette(routes=[WebSocketRoute("/", talk)]), policy)
    client = TestClient(app, base_url="https://www.example.com")
    with client.websocket_connect("wss://www.example.com/", headers={"Cookie": visitors["some"]}):
        pass
    assert asked.answers == [(True, True)]


@pytest.mark.parametrize("attribute", ["scope", "environ"])
def test_any_object_that_has_one(exchanges, attribute):
    """No framework is known by name."""
    seen = []

    def ask(target):
        found = get_consent(SimpleNamespace(**{attribute: target}))
        seen.append(found.visit is get_consent(target).visit)

    exchanges.run(on_request=ask)
    assert seen == [True]


@pytest.mark.parametrize("request_", [None, "/page", 5, object(), SimpleNamespace(scope=None, environ="x")])
def test_what_is_no_request(request_):
    """The error names the type of what was given."""
    with pytest.raises(ConsentStateError, match=f"no request: {type(request_).__name__}"):
        get_consent(request_)


@pytest.mark.parametrize(
    "request_", [{}, {"consent_middleware.consent": 1}, SimpleNamespace(scope={}, environ={})]
)
def test_outside_of_the_middleware(request_):
    """The error says what to do."""
    with pytest.raises(ConsentStateError, match="wrap the app"):
        get_consent(request_)


# Unknown ids


@pytest.fixture
def production(monkeypatch):
    monkeypatch.setattr(unknown_ids, "_told", set())
    monkeypatch.setattr(unknown_ids, "raises", False)


@pytest.fixture
def development(production):
    raise_on_unknown_ids()


def asking(exchanges, visitors, *questions, policy=None):
    """The answers to (method, id), or the errors, of a visitor who allows everything."""
    answers = []

    def ask(target):
        consent = get_consent(target)
        for method, id in questions:
            try:
                answers.append(getattr(consent, method)(id))
            except ConsentStateError as error:
                answers.append(str(error))

    exchanges.run(cookie=visitors["all"], on_request=ask, policy=policy)
    return answers


UNKNOWN = [
    ("allows", "analitics", "purpose", "did you mean 'analytics'?"),
    ("allows", "google-analytics", "purpose", ""),
    ("allows_vendor", "google-analytic", "vendor", "did you mean 'google-analytics'?"),
    ("allows_vendor", "social", "vendor", ""),
    ("allows", "", "purpose", ""),
    ("allows", None, "purpose", ""),
]


@pytest.mark.parametrize(("method", "id", "kind", "hint"), UNKNOWN)
def test_an_unknown_id_in_development(exchanges, visitors, development, method, id, kind, hint):
    """It is an error, which names it, what there is, and what was probably meant."""
    [error] = asking(exchanges, visitors, (method, id))
    assert f"no {kind} {str(id)!r}" in error
    assert hint in error
    assert "analytics" in error.partition("; it has ")[2]


@pytest.mark.parametrize(("method", "id", "kind", "hint"), UNKNOWN)
def test_an_unknown_id_in_production(exchanges, visitors, production, caplog, method, id, kind, hint):
    """The answer is no, and the log says so in one line, however often it is asked."""
    assert asking(exchanges, visitors, *[(method, id)] * 3) == [False] * 3
    assert asking(exchanges, visitors, (method, id)) == [False]
    [record] = caplog.records
    assert (record.levelname, record.name) == ("ERROR", "consent_middleware")
    assert f"no {kind} {str(id)!r}" in record.getMessage()
    assert hint in record.getMessage()


@pytest.mark.parametrize("mode", ["development", "production"])
def test_the_standard_purposes_are_always_known(exchanges, visitors, make_policy, request, caplog, mode):
    """A library may ask about each of them on every site."""
    request.getfixturevalue(mode)
    policy = make_policy('[purposes.essential]\n[purposes.own]\ntitle = "Own"\n')
    questions = [("allows", id) for id in STANDARD]
    assert asking(exchanges, visitors, *questions, policy=policy) == [id == "essential" for id in STANDARD]
    assert caplog.records == []


def test_the_log_of_unknown_ids_is_bounded(exchanges, visitors, production, caplog):
    """An app may ask about whatever a stranger sends: the log holds neither all of it nor its length."""
    questions = [("allows", f"{number}\n" + "x" * 5000) for number in range(1000)]
    assert asking(exchanges, visitors, *questions) == [False] * 1000
    assert len(caplog.records) < 500
    assert max(len(record.getMessage()) for record in caplog.records) < 600
    assert not any("\n" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("mode", ["development", "production"])
def test_a_grant_of_an_unknown_purpose_is_an_error(exchanges, request, mode):
    """Nothing of it is granted; the standard ones are known, and there may be nothing to grant."""
    request.getfixturevalue(mode)

    def grant(target):
        consent = get_consent(target)
        with pytest.raises(ConsentStateError, match=r"'analitics' \(did you mean 'analytics'\?\)"):
            consent.grant("social", "analitics")
        consent.grant("device")

    answer = exchanges.run(method="POST", fields=[("Sec-Fetch-Site", "same-origin")], on_request=grant)
    assert not any(line.startswith("__Host-consent=") for line in answer.cookies())


@pytest.mark.parametrize(
    ("flags", "environment", "raises"),
    [
        ([], {}, False),
        (["-X", "dev"], {}, True),
        ([], {"CONSENT_DEBUG": "1"}, True),
        ([], {"CONSENT_DEBUG": "0"}, False),
    ],
)
def test_what_counts_as_development(flags, environment, raises):
    """Python's development mode, or the variable."""
    import os

    environ = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONDEVMODE", "CONSENT_DEBUG"}
    }
    code = "import consent_middleware.request as r; print(bool(r.unknown_ids.raises))"
    command = [sys.executable, *flags, "-W", "ignore", "-c", code]
    said = subprocess.run(command, env=environ | environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(raises)
