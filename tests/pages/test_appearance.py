"""Texts, templates and style: ours, and a site's over them."""

import gzip
import tomllib
from pathlib import Path

import pytest

import consent_middleware
from consent_middleware.appearance import Appearance, placeholders
from consent_middleware.errors import ConfigurationError, ConfigurationWarning

TRANSLATIONS = Path(consent_middleware.__file__).parent / "pages" / "translations"
LANGUAGES = sorted(path.stem for path in TRANSLATIONS.glob("*.toml"))
FORMS = {"pl": 3}


def texts(language):
    table = tomllib.loads((TRANSLATIONS / f"{language}.toml").read_text("utf-8"))
    return {
        (s, key): text for s, keys in table.items() if isinstance(keys, dict) for key, text in keys.items()
    }


def test_languages_that_we_have():
    """Eight languages, of which two are proof-read; the others say that they are not."""
    assert LANGUAGES == ["de", "en", "es", "fr", "it", "nl", "pl", "pt"]
    read = {
        code for code in LANGUAGES if tomllib.loads((TRANSLATIONS / f"{code}.toml").read_text())["reviewed"]
    }
    assert read == {"en", "fr"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_complete(language):
    """Every language has every text, with the same placeholders and as many forms as it has numbers."""
    english, own = texts("en"), texts(language)
    assert own.keys() == english.keys()
    for key, text in own.items():
        assert text.strip() == text != ""
        assert placeholders(text) == placeholders(english[key]), key
        if key[0] != "dates" and "|" in english[key]:
            assert len(text.split("|")) == FORMS.get(language, 2), key
    assert len(own["dates", "months"].split("|")) == 12


@pytest.mark.parametrize(
    ("language", "numbers"),
    [
        ("en", {0: "0 days", 1: "1 day", 2: "2 days"}),
        ("fr", {0: "0 jour", 1: "1 jour", 2: "2 jours"}),
        ("pl", {1: "1 godzina", 2: "2 godziny", 5: "5 godzin", 12: "12 godzin", 22: "22 godziny"}),
    ],
)
def test_numbers(language, numbers):
    """A number is in the form that its language has for it."""
    key = "periods.hour" if language == "pl" else "periods.day"
    speak = Appearance.of().speak(language)
    assert {n: speak.counted(key, n) for n in numbers} == numbers


def write(directory, files):
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return directory


def test_a_site_overrides_one_by_one(tmp_path, exchanges, make_policy):
    """One text, one template and a few lines of style change alone; a language of the site's own is added."""
    directory = write(
        tmp_path,
        {
            "translations/en.toml": '[actions]\naccept = "Fine with me"\n',
            "translations/ar.toml": 'name = "العربية"\ndirection = "rtl"\n[actions]\nreject = "رفض الكل"\n',
            "templates/settings_link.html": "<a href='{{ url() }}'>Biscuits</a>",
            "templates/page.html": '{% extends "ours/page.html" %}{% block title %}Ours{% endblock %}',
            "static/banner.css": ":root { --consent-button: #7a0f3d; }",
        },
    )
    policy = make_policy('[site]\nlanguages = ["en", "ar"]\n', pages=directory)
    banner = exchanges.run(path="/consent/banner", policy=policy).body.decode()
    assert "Fine with me" in banner
    assert "Reject all" in banner
    arabic = exchanges.run(path="/consent/?lang=ar", policy=policy).body.decode()
    assert '<html lang="ar" dir="rtl">' in arabic
    assert "رفض الكل" in arabic
    assert exchanges.run(path="/consent/banner.css", policy=policy).body.endswith(b"#7a0f3d; }")
    assert policy.snapshot.hash != make_policy('[site]\nlanguages = ["en"]\n').snapshot.hash


def test_mistakes_stop_the_start(tmp_path):
    """Everything wrong with a site's directory is said at once, with its file."""
    directory = write(
        tmp_path,
        {
            "translations/en.toml": '[actions]\naccpt = "x"\nreject = "{who}"\nchoose = "{"\nsave = 3\n',
            "translations/fr.toml": "[actions\n",
            "translations/de.toml": 'direction = "down"\ncolour = "red"\n',
            "templates/banner.html": "{% if %}",
            "templates/bannner.html": "x",
        },
    )
    with pytest.raises(ConfigurationError) as caught:
        Appearance.of(directory)
    message = str(caught.value)
    for part in (
        "translations/en.toml: actions.accpt: unknown text",
        "translations/en.toml: actions.reject: unknown placeholder {who}",
        "translations/en.toml: actions.choose: ",
        "translations/en.toml: actions.save: must be a string",
        "translations/fr.toml: ",
        "translations/de.toml: direction: ",
        "translations/de.toml: colour: unknown key",
        "templates/banner.html:1: ",
        "templates/bannner.html: overrides nothing",
    ):
        assert part in message
    with pytest.raises(ConfigurationError, match="no such directory"):
        Appearance.of(tmp_path / "nowhere")


def test_a_language_without_texts_is_warned_of(make_policy):
    """A site in a language that the pages do not speak is told how to add it."""
    with pytest.warns(ConfigurationWarning, match=r"translations/sv\.toml"):
        make_policy('[site]\nlanguages = ["sv"]\n')


def test_the_digest_is_stable():
    """The same pages have the same digest in every process."""
    assert Appearance.of().digest == Appearance.of().digest


def test_the_script_is_small():
    """Below 6 KiB as it travels."""
    assert len(gzip.compress(Appearance.of().script.encode())) < 6 * 1024
