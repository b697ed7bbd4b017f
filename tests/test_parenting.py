"""The example of a full cookie policy says, and does, what such a policy promises."""

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner
from werkzeug.test import Client

from consent_middleware.cli import main

EXAMPLE = Path(__file__).parent.parent / "examples" / "parenting"
POLICY = (EXAMPLE / "cookie-policy.md").read_text("utf-8")


def printed(*options: str) -> str:
    result = CliRunner().invoke(main, ["cookie-policy", str(EXAMPLE / "cookies.toml"), *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_policy_is_up_to_date():
    """The committed policy is what the command makes of the registry today."""
    assert printed("--records") == POLICY


@pytest.mark.parametrize(
    "statement",
    [
        "placed only after you have agreed",
        "13 months at most",
        "we ask you again",
        *(
            f"### {t}"
            for t in ("Essential", "Preferences", "Audience measurement", "Advertising", "Mobile device data")
        ),
        "### Sharing through social networks",
        "outside our control",
        "identity and content of the cookie",
        "IP address",
        "advertising and vendor identifiers of the phone",
        "date, time and length of the visit",
        "landing page",
        "operating system",
        "browser and its version",
        "errors while loading",
        "pages viewed",
        "keep the site secure and meet legal duties",
        "typed into forms",
        "Google Analytics",
        "check what partners invoice",
        "signed in to them",
        "affiliates follow visits",
        "invisible images",
        "which page or e-mail led you here",
        "kind of connection",
        "Your position is used only while you consent",
        "go on to another page",
        "each single cookie",
        "withdraw your consent at any time",
        "Refusing may cost you the feature",
        "the site may not work",
        "Safari",
        "Samsung Internet",
        "Do Not Track",
        "Object there",
        "Last changed on 23 November 2026",
        "privacy@example.com",
        "Authorities may ask for it",
        "mobile apps included",
    ],
)
def test_what_the_policy_says(statement):
    """Every statement of such a policy is in it."""
    assert statement in POLICY


def test_other_forms():
    """The policy comes in each of the site's languages, as Markdown and as HTML; others are refused."""
    assert "Durée de conservation" in printed("--language", "fr")
    assert '<div class="consent-policy" lang="fr"' in printed("--language", "fr", "--format", "html")
    refused = CliRunner().invoke(main, ["cookie-policy", str(EXAMPLE / "cookies.toml"), "--language", "de"])
    assert refused.exit_code == 1
    assert "en, fr" in refused.output


def test_the_app(monkeypatch):
    """The app shows the banner and its policy, and no optional cookie leaves before consent."""
    monkeypatch.setenv("CONSENT_SECRET_KEYS", "a-key-for-the-tests-alone")
    monkeypatch.delenv("CONSENT_RECORDS", raising=False)
    spec = importlib.util.spec_from_file_location("parenting_app", EXAMPLE / "app.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "parenting_app", module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    client = Client(module.app)
    answer = client.get("/")
    assert [line.partition("=")[0] for line in answer.headers.getlist("Set-Cookie")] == ["session"]
    assert 'data-consent-state="undecided"' in answer.text
    assert "13 months at most" in client.get("/cookies").text
