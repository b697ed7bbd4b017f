"""What the library knows by itself: standard purposes, presets, trackers."""

from datetime import timedelta

import pytest
from django.conf import global_settings
from flask import Flask
from starlette.middleware.sessions import SessionMiddleware

from consent_middleware import catalogue
from consent_middleware.core.periods import Overrun, Period
from consent_middleware.registry_file import Registry
from consent_middleware.registry_file.syntax import cookie_name

LANGUAGES = {"en", "fr", "de", "es", "it", "nl", "pl", "pt"}


def seconds(period):
    return timedelta(seconds=period.seconds).total_seconds()


@pytest.mark.parametrize("id", catalogue.purposes())
def test_standard_purposes_have_texts_in_all_languages(id):
    """A title and a description in each language, none of them empty or repeated."""
    for key in ("title", "description"):
        text = catalogue.purposes()[id][key]
        assert set(text) == LANGUAGES
        assert all(wording.strip() == wording != "" for wording in text.values())
    assert len(set(catalogue.purposes()[id]["description"].values())) == len(LANGUAGES)


@pytest.mark.parametrize("name", catalogue.presets())
def test_a_preset_is_read_without_a_word(name):
    """Each preset is a registry of its own: no mistakes, no suspicions, texts in English and French."""
    registry = Registry.from_text(f'presets = ["{name}"]')
    assert registry.cookies
    for rule in registry.cookies:
        assert rule.preset == name
        assert rule.lifetime is not None
        assert {tag for tag, _ in rule.description.wordings} >= {"en", "fr"}
        assert rule.data
        assert all({tag for tag, _ in text.wordings} >= {"en", "fr"} for text in rule.data)


def test_all_presets_that_were_promised_are_there():
    """The frameworks and their extensions that people start with."""
    promised = {"flask", "starlette", "django", "flask-login", "flask-wtf", "authlib", "fastapi-users"}
    assert promised <= set(catalogue.presets())


def test_djangos_preset_has_djangos_names_and_ages():
    """As in Django's own default settings."""
    rule = Registry.from_text('presets = ["django"]').classify
    assert seconds(rule(global_settings.SESSION_COOKIE_NAME).lifetime) == global_settings.SESSION_COOKIE_AGE
    assert seconds(rule(global_settings.CSRF_COOKIE_NAME).lifetime) == global_settings.CSRF_COOKIE_AGE
    assert rule(global_settings.LANGUAGE_COOKIE_NAME).purpose == "preferences"
    assert global_settings.LANGUAGE_COOKIE_AGE is None
    assert rule(global_settings.LANGUAGE_COOKIE_NAME).lifetime == "session"
    assert rule("messages").lifetime == "session"


def test_flasks_preset_has_flasks_name_and_age():
    """As in Flask's own default settings."""
    config = Flask("app").config
    rule = Registry.from_text('presets = ["flask"]').classify(config["SESSION_COOKIE_NAME"])
    assert seconds(rule.lifetime) == config["PERMANENT_SESSION_LIFETIME"].total_seconds()


def test_starlettes_preset_has_starlettes_name_and_age():
    """As in the middleware's own defaults."""
    middleware = SessionMiddleware(lambda *_: None, "key")
    rule = Registry.from_text('presets = ["starlette"]').classify(middleware.session_cookie)
    assert seconds(rule.lifetime) == middleware.max_age


def test_a_session_in_pieces_is_recognised():
    """Litestar numbers the pieces of a long session."""
    classify = Registry.from_text('presets = ["litestar"]').classify
    assert {classify(name).purpose for name in ("session", "session-0", "session-12")} == {"essential"}
    assert classify("session_0") is None


def test_trackers_are_names_with_a_vendor_and_a_standard_purpose():
    """Each once, each a valid name or pattern."""
    trackers = catalogue.trackers()
    assert len({tracker["name"] for tracker in trackers}) == len(trackers) > 60
    for tracker in trackers:
        assert cookie_name(tracker["name"]) is None
        assert tracker["vendor"]
        assert tracker["purpose"] in {"analytics", "social", "advertising"}


def test_no_preset_is_taken_for_a_tracker():
    """A framework's own cookies, written by hand, raise no suspicion."""
    for rules in catalogue.presets().values():
        entries = (f'[[cookies]]\nname = "{rule["name"]}"\npurpose = "essential"\n' for rule in rules)
        assert Registry.from_text("".join(entries)).cookies


def test_periods_of_presets_are_bounds():
    """A preset promises no more than a year."""
    lifetimes = {rule["lifetime"] for rules in catalogue.presets().values() for rule in rules} - {"session"}
    overruns = {Period.parse(lifetime).overrun(Period.parse("365 days")) for lifetime in lifetimes}
    assert overruns == {Overrun.NEVER}
