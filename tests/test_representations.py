"""What `repr` says: enough to tell things apart in a log or a debugger, and nothing that is secret or a visitor's."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consent_middleware import Action, Consent, Decision, Reason, get_consent
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.engine import engine_of
from consent_middleware.policy import ConsentPolicy
from consent_middleware.records.event import Act, Source, make_event
from consent_middleware.request import KEY
from consent_middleware.wsgi import ConsentMiddleware as Wsgi

SECRET = "hunter2hunter2hunter2"
ID = "Zm9vYmFyYmF6cXV4"
WHEN = datetime(2026, 11, 23, 12, 34, 56, 789, tzinfo=UTC)
CHOICE = Consent(decided_at=WHEN, version=2, purposes=["analytics"], refused_vendors=["ads"], id=ID)
POLICY = "ConsentPolicy(site='test', mode='enforce')"


@pytest.fixture
def secretive(make_policy):
    return make_policy(secret_keys=[SECRET])


@pytest.fixture
def cookie(secretive):
    """All that a request has of a visitor."""
    return f"{secretive.consent_cookie(CHOICE, WHEN).partition(';')[0]}; _ga=GA1.1.42; ads_id=7777777"


def test_a_policy(secretive, make_policy):
    """Of which site, and in which mode."""
    assert repr(secretive) == POLICY
    assert repr(make_policy('[site]\nid = "other"\n[consent]\nmode = "observe"\n')) == (
        "ConsentPolicy(site='other', mode='observe')"
    )


def test_middlewares_and_engines(secretive):
    """Each tells its door and its policy; one inside the other is not spelled out."""
    assert repr(Asgi(None, secretive)) == f"<consent_middleware.asgi.ConsentMiddleware of {POLICY}>"
    assert repr(Wsgi(None, secretive)) == f"<consent_middleware.wsgi.ConsentMiddleware of {POLICY}>"
    assert repr(engine_of(secretive)) == f"<Engine of {POLICY}>"


@pytest.mark.parametrize(
    ("consent", "said"),
    [
        (
            CHOICE,
            "Consent(decided_at=2026-11-23, version=2, purposes=('analytics',), refused_vendors=('ads',))",
        ),
        (
            Consent(decided_at=WHEN, version=1, measured_since=WHEN, asked=False, gpc=True),
            "Consent(decided_at=2026-11-23, version=1, measured_since=2026-11-23, gpc=True, asked=False)",
        ),
    ],
)
def test_a_consent(consent, said):
    """What was chosen, and on which day: the moment to the microsecond would be as good as its id."""
    assert repr(consent) == said


def test_a_consent_that_was_read_from_its_token(secretive):
    """No constructor ran for it."""
    token = secretive.token(CHOICE)
    assert repr(secretive.read_consent(token, WHEN)) == repr(CHOICE)


def test_a_decision(policy):
    """What became of which cookie, by which rule, without its value."""
    rule = policy.registry.classify("_ga")
    kept = Decision("_ga", Action.KEEP, Reason.GRANTED, rule, f"_ga={SECRET}", f"_ga={SECRET}")
    assert repr(kept) == "Decision('_ga', keep, granted, rule='_ga')"
    dropped = Decision("x", Action.DROP, Reason.UNDECLARED, None, f"x={SECRET}", None)
    assert repr(dropped) == "Decision('x', drop, undeclared, rule=None)"
    assert repr(replace(kept, action="drop", reason="mine")) == "Decision('_ga', drop, mine, rule='_ga')"


def test_a_visitors_consent_and_its_exchange(exchanges, secretive, cookie):
    """Of which request of which site; what was chosen is not told, so the answer stays as cacheable as it was."""
    told = []

    def on_request(target):
        told.extend([repr(get_consent(target)), repr(target[KEY])])

    answer = exchanges.run(
        policy=secretive, path="/secret/path?token=1", on_request=on_request, method="POST", cookie=cookie
    )
    assert told == ["<RequestConsent of site 'test'>", f"<Exchange of {POLICY}: POST, open>"]
    assert answer.status == 200


@pytest.mark.parametrize("read", [True, False])
def test_looking_is_not_reading(exchanges, read):
    """An answer whose app looked at a consent is everybody's; one that asked it is not."""
    ask = (lambda target: get_consent(target).decided) if read else (lambda target: repr(get_consent(target)))
    answer = exchanges.run(on_request=ask)
    assert ("private" in (answer.get("cache-control") or "")) is read


def test_a_record(secretive):
    """Neither the token nor what ties it to a visitor."""
    event = make_event(
        random=bytes(16),
        consent=CHOICE,
        compiled=secretive.compiled,
        snapshot="s",
        source=Source.APP,
        action=Act.GRANT,
        token=secretive.token(CHOICE),
        now=WHEN,
        address="192.0.2.1",
    )
    said = repr(event)
    assert "partly-given" in said
    assert [word for word in (ID, event.token, event.network) if word in said] == []


def test_nothing_of_a_visitor_or_a_key_is_told(exchanges, secretive, cookie):
    """Whatever of ours is looked at during a request, by a debugger or what collects errors."""
    seen = []

    def on_request(target):
        exchange = target[KEY]
        seen.extend([exchange, get_consent(target), exchange.engine, exchange.policy, CHOICE])

    policy = ConsentPolicy(
        secretive.registry,
        secret_keys=[SECRET],
        clock=lambda: WHEN,
        on_decision=lambda decision, target: seen.append(decision),
    )
    exchanges.run([("Set-Cookie", "_ga=GA1.1.42")], policy=policy, on_request=on_request, cookie=cookie)
    told = " ".join(map(repr, seen))
    assert len(seen) == 6
    values = [SECRET, ID, "GA1.1.42", "7777777", *cookie.partition(";")[0].partition("=")[2].split(".")]
    assert [value for value in values if value in told] == []
