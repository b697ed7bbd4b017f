"""The banner's script sends one choice at a time, however fast its buttons are pressed."""

import json
import queue
from io import BytesIO
from types import SimpleNamespace

import pytest
from werkzeug import Request, Response

from consent_middleware import ConsentPolicy, Registry
from consent_middleware.wsgi import ConsentMiddleware

REGISTRY = """
[site]
hosts = ["127.0.0.1"]
[purposes.essential]
[purposes.analytics]
[[cookies]]
name = "_ga"
purpose = "analytics"
path = "/"
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title></head><body>
<main><h1>x</h1></main><script src="/consent/banner.js" defer></script></body></html>"""


@pytest.fixture
def slow(serve_app, visit, tmp_path):
    """Somebody at a site whose server answers a choice when it is told to, with the status that it is told.

    `came` holds the choices as they arrive, `answers` takes a status for each; 200 is its own answer.
    """
    registry = Registry.from_text(REGISTRY)
    policy = ConsentPolicy(
        registry, secret_keys=["a key for the tests alone"], records=f"sqlite:///{tmp_path}/consent.db"
    )
    came, answers = queue.SimpleQueue(), queue.SimpleQueue()
    site = ConsentMiddleware(
        Request.application(lambda request: Response(PAGE, mimetype="text/html")), policy
    )

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = BytesIO(body)
            came.put(json.loads(body)["choice"] if body.startswith(b"{") else "form")
            status = answers.get(timeout=30)
            if status != 200:
                return Response("no", status)(environ, start_response)
        return site(environ, start_response)

    visitor = visit(SimpleNamespace(url=serve_app(app)))
    visitor.go()
    yield SimpleNamespace(
        visitor=visitor, page=visitor.page, came=came, answers=answers, records=policy.records
    )
    policy.records.close()


BUSY = """[document.querySelector('#consent-banner').getAttribute('aria-busy'),
    ...Array.from(document.querySelectorAll('#consent-banner [name=choice]'), (one) => one.ariaDisabled)]"""


def press(slow, *choices):
    """Press buttons, one after another at once, and let a question to the server go there and back."""
    slow.page.evaluate(
        """async (choices) => {
            for (const one of choices) document.querySelector(`[data-consent-action=${one}]`).click();
            await fetch('/').then((answer) => answer.text());
        }""",
        choices,
    )


def finish(slow):
    slow.page.wait_for_selector("#consent-banner[hidden]", state="attached")
    return slow.visitor.state()["purposes"]["analytics"], slow.records.count()


@pytest.mark.parametrize("choice", ["accept-all", "reject-all"])
def test_a_double_click_is_one_choice(slow, choice):
    """Pressed twice, pressed again while it is under way: one post and one record."""
    press(slow, choice, choice)
    assert slow.came.get(timeout=5) == choice
    assert slow.page.evaluate(BUSY) == ["true", "true", "true"]
    press(slow, choice)
    slow.answers.put(200)
    assert finish(slow) == (choice == "accept-all", 1)
    assert slow.came.empty()


def test_the_next_waits_for_the_answer(slow):
    """Accepted, then refused while that is under way: two posts in order, two records, and the refusal holds."""
    press(slow, "accept-all", "reject-all")
    assert slow.came.get(timeout=5) == "accept-all"
    assert slow.came.empty()
    slow.answers.put(200)
    assert slow.came.get(timeout=5) == "reject-all"
    # What was given up meanwhile is not acted on.
    assert slow.page.evaluate("document.querySelector('#consent-banner').dataset.consentState") == "undecided"
    slow.answers.put(200)
    assert finish(slow) == (False, 2)
    assert slow.page.locator("#consent-banner").get_attribute("data-consent-state") == "refused"


def test_the_last_of_those_that_wait_counts(slow):
    """Of what is pressed while a post is under way only the last is sent; nothing if it is the same again."""
    press(slow, "accept-all")
    assert slow.came.get(timeout=5) == "accept-all"
    press(slow, "reject-all", "accept-all", "reject-all", "accept-all")
    slow.answers.put(200)
    assert finish(slow) == (True, 1)
    assert slow.came.empty()


def test_a_real_click_while_it_is_under_way(slow):
    """The buttons are off for eyes and for assistive technology, and whoever presses one all the same is heard."""
    slow.page.locator("[data-consent-action=accept-all]").click()
    assert slow.came.get(timeout=5) == "accept-all"
    assert slow.page.locator("[data-consent-action=reject-all]").is_disabled()
    slow.page.locator("[data-consent-action=reject-all]").click(force=True)
    slow.answers.put(200)
    slow.answers.put(200)
    assert finish(slow) == (False, 2)


def test_after_a_failure(slow):
    """What waits is what the server is asked for in the plain way, and the buttons are on again."""
    press(slow, "accept-all", "reject-all")
    for sent in ("accept-all", "reject-all", "form"):
        assert slow.came.get(timeout=5) == sent
        # No content: a browser that is sent there stays on the page.
        slow.answers.put(204 if sent == "form" else 503)
    slow.page.wait_for_function(f"JSON.stringify({BUSY}) === '[null,null,null]'")
    press(slow, "reject-all")
    assert slow.came.get(timeout=5) == "reject-all"
    slow.answers.put(200)
    assert finish(slow) == (False, 1)
    assert any("503" in text for text in slow.visitor.complaints)
    slow.visitor.complaints.clear()
