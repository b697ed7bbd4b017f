"""What the site's `on_decision` sees and may do: no hook undoes a refusal, a limit, or what makes a line one."""

from dataclasses import replace

import pytest

from consent_middleware import Action
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

NEXT_MONTH = "Wed, 23 Dec 2026 12:00:00 GMT"
FAR = "Mon, 23 Dec 2030 12:00:00 GMT"


def keep(decision, target):
    return replace(decision, action=Action.KEEP, after=None)


@pytest.mark.parametrize("expires", ["Expires", "expires", "EXPIRES"])
def test_a_date_of_what_a_hook_keeps(exchanges, make_policy, expires):
    """What a hook keeps of the undeclared ends when it says, or at the limit."""
    policy = make_policy(on_decision=keep)
    for _ in range(2):
        line = f"promo=1; {expires}={NEXT_MONTH}; Path=/"
        assert exchanges.run_lines(line, policy=policy).cookies() == [line]
        (left,) = exchanges.run_lines(f"promo=1; {expires}={FAR}", policy=policy).cookies()
        assert left.startswith("promo=1; Max-Age=34")
        assert "2027" in left


@pytest.mark.parametrize("name", ["Set-Cookie ", " Set-Cookie", "Set-Cookie\xa0"])
@pytest.mark.parametrize("after", [None, "session=1"])
def test_no_hook_makes_a_field_of_what_is_none(exchanges, make_policy, name, after):
    """A name that is no token stays behind, whatever the line under it."""
    seen = []

    def hook(decision, target):
        seen.append(decision.action)
        return replace(decision, action=Action.KEEP, after=after)

    answer = exchanges.run([(name, "session=1")], policy=make_policy(on_decision=hook))
    assert "session" not in str(answer.headers)
    assert seen == [Action.DROP]


def test_a_line_in_place_of_a_personal_one_is_personal(exchanges, make_policy):
    """What a hook sends instead of a line that depends on the visitor depends on the visitor."""

    def hook(decision, target):
        return (
            replace(decision, action=Action.REWRITE, after="session=none") if decision.after is None else None
        )

    policy = make_policy(on_decision=hook)
    answer = exchanges.run([("Set-Cookie", "_ga=1"), ("Cache-Control", "public")], policy=policy)
    assert answer.cookies() == ["session=none"]
    assert answer.get("cache-control") == "private, no-cache, max-age=0"


def test_a_hook_sees_each_line_once(make_policy):
    """Also where some fields are not of the door's type, or are none."""
    seen = []
    policy = make_policy(on_decision=lambda decision, target: seen.append(decision.before))

    def app(environ, start_response):
        start_response(
            "200 OK", [("Set-Cookie", "session=1"), ("Content-Length", 5), ("Set-Cookie", "_ga=1")]
        )
        return []

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "https"}
    Wsgi(app, policy)(environ, lambda *args: None)
    assert seen == ["session=1", "_ga=1"]
