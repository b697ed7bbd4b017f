"""Consent mode and vendors' tags in the templates of Flask, Starlette and Django (WSGI and ASGI)."""

import json
import re
from html.parser import HTMLParser

import pytest

from consent_middleware import Consent
from consent_middleware.asgi import ConsentMiddleware as AsgiConsentMiddleware
from consent_middleware.request import unknown_ids
from consent_middleware.wsgi import ConsentMiddleware as WsgiConsentMiddleware

REGISTRY = """
[purposes.essential]
[purposes.analytics]
[purposes.advertising]
[vendors.google-analytics]
name = "Google Analytics"
purposes = ["analytics"]
google_consent = ["analytics_storage"]
[vendors.google-ads]
name = "Google Ads"
purposes = ["advertising"]
google_consent = ["ad_storage", "ad_user_data", "ad_personalization"]
[vendors.other-ads]
name = "Other Ads"
purposes = ["advertising"]
google_consent = ["ad_storage", "security_storage"]
[vendors.microsoft-ads]
name = "Microsoft Advertising"
purposes = ["advertising"]
[vendors.matomo]
name = "Matomo"
purposes = ["analytics"]
"""
ALL = "nonce=nonce microsoft='microsoft-ads' matomo='matomo'"
DENIED = dict.fromkeys(
    [
        *("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"),
        *("functionality_storage", "personalization_storage"),
    ],
    "denied",
)
FRAMEWORKS = ["flask", "starlette", "django", "django-asgi"]


def flask_app(source, context):
    from flask import Flask, render_template_string

    from consent_middleware.integrations.flask import init_app

    app = Flask("site")
    app.testing = True
    init_app(app)
    app.add_url_rule("/", view_func=lambda: render_template_string(source, **context))
    return app


def starlette_app(source, context):
    from jinja2 import DictLoader, Environment
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.templating import Jinja2Templates

    from consent_middleware.integrations.starlette import init_templates

    templates = Jinja2Templates(env=Environment(loader=DictLoader({"page": source}), autoescape=True))
    init_templates(templates)
    return Starlette(
        routes=[Route("/", lambda request: templates.TemplateResponse(request, "page", context))]
    )


def django_app(source, context, *, asgi):
    from django.conf import settings
    from django.http import HttpResponse
    from django.template import engines
    from django.urls import path

    def page(request):
        template = engines["django"].from_string("{% load consent %}" + source)
        return HttpResponse(template.render(context, request))

    if not settings.configured:
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
    return get_asgi_application() if asgi else get_wsgi_application()


class Elements(HTMLParser):
    """The elements of a page: name, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[list] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        self.found.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        if self.found:
            self.found[-1][2] += data


def call_of(framework, name, arguments):
    """The call as each template language writes it; `arguments` is a text of name=value pairs and values."""
    if framework.startswith("django"):
        return "{% " + f"{name} {arguments}" + " %}"
    words = re.findall(r"(?:[^\s']|'[^']*')+", arguments)
    return "{{ " + f"{name}({', '.join(words)})" + " }}"


@pytest.fixture(params=FRAMEWORKS)
def framework(request):
    return request.param


@pytest.fixture
def show(framework, make_policy, now):
    """Renders one call for a visitor who granted `purposes` (None: no choice); the answer."""

    def render(name, arguments="", purposes=None, *, registry=REGISTRY, refused=(), **context):
        source = call_of(framework, name, arguments)
        policy = make_policy(registry)
        headers = {}
        if purposes is not None:
            choice = Consent(decided_at=now, version=1, purposes=purposes, refused_vendors=refused)
            headers["Cookie"] = policy.consent_cookie(choice, now).partition(";")[0]
        if framework in {"flask", "django"}:
            from werkzeug.test import Client

            make = flask_app if framework == "flask" else lambda *both: django_app(*both, asgi=False)
            client = Client(WsgiConsentMiddleware(make(source, context), policy), use_cookies=False)
        else:
            from starlette.testclient import TestClient

            make = starlette_app if framework == "starlette" else lambda *both: django_app(*both, asgi=True)
            client = TestClient(AsgiConsentMiddleware(make(source, context), policy))
            return client.get("https://localhost/", headers=headers)
        return client.get(base_url="https://localhost/", headers=headers)

    return render


def elements(answer):
    return Elements(answer.text).found


def commands(answer):
    """What the script of consent_mode says, in order: (queue, what)."""
    ((_, _, code),) = elements(answer)
    said = []
    for line in code.strip().splitlines():
        google = re.fullmatch(r"gtag\('consent', '(default|update)', (\{.*\})\);", line)
        other = re.fullmatch(r"window\.(uetq|_paq)\.push\((.*)\);", line)
        if google:
            said.append(("google", google[1], json.loads(google[2])))
        elif other:
            said.append((other[1], other[2]))
    return said


@pytest.mark.parametrize("purposes", [None, ()])
def test_nothing_granted(show, purposes):
    """Without consent there is one default, which denies all but security, and no update of any vendor."""
    answer = show("consent_mode", ALL, purposes, nonce="n0nce")
    assert commands(answer) == [
        ("google", "default", {**DENIED, "security_storage": "granted"}),
        ("uetq", "'consent', 'default', {\"ad_storage\": \"denied\"}"),
        ("_paq", "['requireCookieConsent']"),
    ]


def test_everything_granted(show):
    """One update follows the default of each, and nothing is left for the script of the banner."""
    answer = show("consent_mode", ALL, ["analytics", "advertising"], nonce="n0nce")
    granted = ["analytics_storage", "ad_storage", "ad_user_data", "ad_personalization"]
    assert commands(answer) == [
        ("google", "default", {**DENIED, "security_storage": "granted"}),
        ("google", "update", dict.fromkeys(granted, "granted")),
        ("uetq", "'consent', 'default', {\"ad_storage\": \"denied\"}"),
        ("uetq", "'consent', 'update', {\"ad_storage\": \"granted\"}"),
        ("_paq", "['requireCookieConsent']"),
        ("_paq", "['setCookieConsentGiven']"),
    ]
    ((_, attributes, _),) = elements(answer)
    assert json.loads(attributes["data-consent-signals"]) == {"google": {}, "microsoft": {}, "matomo": {}}


def test_some_granted(show):
    """Only what is granted is told; the rest waits with the vendors that it depends on."""
    answer = show("consent_mode", ALL, ["analytics"], nonce="n0nce")
    assert [said[2] for said in commands(answer) if said[:2] == ("google", "update")] == [
        {"analytics_storage": "granted"}
    ]
    ((_, attributes, _),) = elements(answer)
    assert attributes["nonce"] == "n0nce"
    assert json.loads(attributes["data-consent-signals"]) == {
        "google": {
            "ad_storage": ["google-ads", "other-ads"],
            "ad_user_data": ["google-ads"],
            "ad_personalization": ["google-ads"],
            "security_storage": ["other-ads"],
        },
        "microsoft": {"ad_storage": ["microsoft-ads"]},
        "matomo": {},
    }


def test_a_shared_signal(show):
    """A signal that several vendors list is not granted while one of them is refused."""
    answer = show("consent_mode", "", ["advertising"], refused=["other-ads"])
    assert commands(answer)[1:] == [
        ("google", "update", {"ad_user_data": "granted", "ad_personalization": "granted"})
    ]


def test_only_what_is_used(show):
    """No vendor with a consent mode, no script; each of the others only if it is named."""
    without = re.sub("google_consent.*", "", REGISTRY)
    assert show("consent_mode", registry=without).text == ""
    assert [said[0] for said in commands(show("consent_mode", "matomo='matomo'", registry=without))] == [
        "_paq"
    ]
    assert [said[0] for said in commands(show("consent_mode"))] == ["google"]


HOSTILE = "\"'><script>alert(1)</script>&amp;"


def test_a_hostile_nonce(show):
    """A nonce is nothing but the value of its attribute."""
    ((name, attributes, _),) = elements(show("consent_mode", "nonce=nonce", nonce=HOSTILE))
    assert (name, attributes["nonce"]) == ("script", HOSTILE)


KINDS = {
    "script": (
        {"type": "text/plain", "src": "https://ads.example/?a=1&copy=2", "nonce": "n", "async": None},
        {"src": "https://ads.example/?a=1&copy=2", "nonce": "n", "async": None},
    ),
    "iframe": ({"data-src": "https://ads.example/?a=1&copy=2"}, {"src": "https://ads.example/?a=1&copy=2"}),
    "img": ({"data-src": "https://ads.example/?a=1&copy=2"}, {"src": "https://ads.example/?a=1&copy=2"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tags(show, kind):
    """With consent the vendor's element, without it one that waits and loads nothing."""
    options = "nonce='n' async=True" if kind == "script" else ""
    arguments = f"'google-ads' src='https://ads.example/?a=1&copy=2' kind='{kind}' title=title {options}"
    asleep, awake = KINDS[kind]
    title = {"title": HOSTILE}
    waits = {"data-consent-vendor": "google-ads"}
    for purposes, expected in [
        (None, waits | asleep),
        (["analytics"], waits | asleep),
        (["advertising"], awake),
    ]:
        ((name, attributes, text),) = elements(show("consent_tag", arguments, purposes, title=HOSTILE))
        assert (name, attributes, text) == (kind, expected | title, "")


def test_everything_that_loads_waits(show):
    """`srcset` waits like `src`, however it is written, and the type of a module is kept for later."""
    answer = show("consent_tag", "'google-ads' 'a.png' kind='img' SRCSET='b.png 2x'")
    assert elements(answer)[0][1] == {
        "data-consent-vendor": "google-ads",
        "data-src": "a.png",
        "data-srcset": "b.png 2x",
    }
    answer = show("consent_tag", "'google-ads' 'a.js' type='module' data_domain='example.com'")
    assert elements(answer)[0][1] == {
        "data-consent-vendor": "google-ads",
        "src": "a.js",
        "type": "text/plain",
        "data-type": "module",
        "data-domain": "example.com",
    }


def test_attributes_that_are_left_out(show):
    """False, None and no nonce leave no attribute behind."""
    answer = show("consent_tag", "'google-ads' 'a.js' async=no defer=nothing", no=False, nothing=None)
    assert set(elements(answer)[0][1]) == {"data-consent-vendor", "src", "type"}


def test_a_literal_is_escaped(show):
    """What a template says is text too, though Django takes it for markup."""
    ((_, attributes, _),) = elements(show("consent_tag", "'google-ads' 'a\"b&lt;' kind='iframe'"))
    assert attributes["data-src"] == 'a"b&lt;'


@pytest.fixture(params=[False, True])
def strict(request, monkeypatch):
    """Both ways of taking unknown ids."""
    monkeypatch.setattr(unknown_ids, "raises", request.param)


@pytest.fixture
def errors(caplog, monkeypatch):
    """The lines of the log, as if nothing had been logged before."""
    from consent_middleware.pages import embed

    monkeypatch.setattr(embed, "_told", set())
    monkeypatch.setattr(unknown_ids, "_told", set())
    return lambda: [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("'google-ads' 'a.js' kind='object'", "'object'"),
        ("'google-ads' 'a.html' kind='iframe' srcdoc='x'", "'srcdoc'"),
        ("'google-ads' 'a.html' kind='iframe' é='x'", "'é'"),
    ],
)
def test_an_element_that_cannot_be_written_is_left_out(show, strict, errors, arguments, told):
    """A mistake in a template costs the page that element; the log says which, once."""
    for _ in range(2):
        answer = show("consent_tag", arguments)
        assert (answer.status_code, answer.text) == (200, "")
    [line] = errors()
    assert told in line


def test_a_tag_of_an_unknown_vendor_never_wakes(show, strict, errors):
    """It loads nothing, for a visitor who allowed everything too, and the log says what was probably meant."""
    ((_, attributes, _),) = elements(show("consent_tag", "'google-add' 'a.js'", ["analytics", "advertising"]))
    assert attributes == {"data-consent-vendor": "google-add", "src": "a.js", "type": "text/plain"}
    [line] = errors()
    assert "'google-add' (did you mean 'google-ads'?)" in line


@pytest.mark.parametrize("arguments", ["microsoft='nobody'", "matomo='nobody'"])
def test_the_consent_mode_of_an_unknown_vendor_grants_nothing(show, strict, errors, arguments):
    """What nobody can agree to is denied, and the log says so."""
    answer = show("consent_mode", arguments, ["analytics", "advertising"])
    assert "setCookieConsentGiven" not in answer.text
    assert not any(queue == "uetq" and "granted" in what[0] for queue, *what in commands(answer))
    [line] = errors()
    assert "'nobody'" in line


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("consent_banner", ""),
        ("consent_settings_link", ""),
        ("consent_policy", ""),
        ("consent_mode", ""),
        ("consent_tag", "'google-ads' 'a.js'"),
    ],
)
def test_without_the_middleware_nothing_is_shown(show, monkeypatch, errors, name, arguments):
    """A page of an app that is not wrapped is shown without our parts, and the log says what is missing."""
    for kind in ("Wsgi", "Asgi"):
        monkeypatch.setitem(globals(), f"{kind}ConsentMiddleware", lambda app, policy: app)
    answer = show(name, arguments)
    assert (answer.status_code, answer.text) == (200, "")
    [line] = errors()
    assert "wrap the app" in line


def test_what_fails_in_us_costs_no_page(show, monkeypatch, errors):
    """Whatever goes wrong in making a part, the page is shown without it."""

    def fails(*args, **named):
        raise RuntimeError("a visitor's secret")

    monkeypatch.setattr("consent_middleware.pages.banner.banner", fails)
    answer = show("consent_banner")
    assert (answer.status_code, answer.text) == (200, "")
    [line] = errors()
    assert "RuntimeError" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("name", "arguments"), [("consent_mode", ""), ("consent_tag", "'google-ads' 'a.js'")]
)
def test_the_answer_is_private(show, name, arguments):
    """A page that depends on consent is kept out of shared caches."""
    headers = show(name, arguments).headers
    assert "private" in headers["Cache-Control"]
    assert "Cookie" in headers["Vary"]


def test_under_opt_out(make_policy, now):
    """A visitor who has not refused gets everything where the law lets the site do so."""
    from werkzeug.test import Client

    policy = make_policy(REGISTRY, model=lambda environ: "opt-out")
    app = flask_app("{{ consent_tag('google-ads', 'a.js') }}", {})
    answer = Client(WsgiConsentMiddleware(app, policy)).get("/")
    assert elements(answer)[0][1] == {"src": "a.js"}


@pytest.mark.parametrize("framework", ["django", "django-asgi"], indirect=True)
def test_django_has_the_other_calls(show):
    """The banner, the link and the policy are there too."""
    assert 'id="consent-banner"' in show("consent_banner", "layout='inline' lang='en'").text
    assert "/consent/" in show("consent_settings_link", "lang='en'").text
    assert "Google Ads" in show("consent_policy").text


def test_django_without_a_request(show, errors):
    """A Django template that is rendered without a request shows nothing, and the log says what is missing."""
    from django.template import Context, Engine

    engine = Engine(libraries={"consent": "consent_middleware.integrations.django"})
    template = engine.from_string("{% load consent %}{% consent_banner %}")
    assert template.render(Context()) == ""
    [line] = errors()
    assert "render the template with one" in line


def test_flask_and_starlette_without_a_request(errors):
    """So does a Jinja template."""
    from flask import Flask
    from jinja2 import Environment
    from starlette.templating import Jinja2Templates

    from consent_middleware.integrations.flask import init_app
    from consent_middleware.integrations.starlette import init_templates

    app, templates = Flask("site"), Jinja2Templates(env=Environment(autoescape=True))
    init_app(app)
    init_templates(templates)
    for environment in (app.jinja_env, templates.env):
        assert environment.from_string("{{ consent_banner() }}|{{ consent_tag('a', 'b') }}").render() == "|"
    assert len(errors()) == 4
