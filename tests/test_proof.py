"""No proof, no consent: a grant leaves only after its record is stored."""

import json
import warnings

import pytest

from consent_middleware import get_consent
from consent_middleware.records.event import State

OWN = [("Sec-Fetch-Site", "same-origin")]
JSON = [("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-origin")]


@pytest.fixture
def recording(make_policy, tmp_path):
    policy = make_policy(records=f"sqlite:///{tmp_path / 'consent.db'}")
    yield policy
    policy.records.close()


@pytest.fixture
def failing(make_policy, tmp_path):
    """The same with a store that is out of reach."""
    policy = make_policy(records=f"sqlite:///{tmp_path / 'no such folder' / 'consent.db'}")
    yield policy
    policy.records.close()


def choose(exchanges, policy, choice, cookie=None, **more):
    state = exchanges.run(path="/consent/offer", cookie=cookie, policy=policy)
    body = json.dumps({"choice": choice, "offer": json.loads(state.body)["offer"], **more}).encode()
    return exchanges.run(
        method="POST", path="/consent/", body=body, fields=JSON, cookie=cookie, policy=policy
    )


def own(answer):
    return [
        line for line in answer.cookies() if line.startswith("__Host-consent=") and "Max-Age=0" not in line
    ]


def stored(policy, answer, now):
    token = own(answer)[0].partition(";")[0].partition("=")[2]
    return policy.records.latest(policy.read_consent(token, now).id)


def test_a_choice_is_recorded(exchanges, recording, now):
    """What the visitor chose is in the store when the cookie leaves, with what was shown."""
    answer = choose(exchanges, recording, "save", purposes={"analytics": True})
    assert answer.status == 200
    event = stored(recording, answer, now)
    assert event.state is State.PARTLY_GIVEN
    assert "purpose:analytics" in event.granted
    assert {"purpose:social", "vendor:ads", "cookie:share"} <= set(event.refused)
    assert (event.snapshot, event.host, event.version) == (recording.snapshot.hash, "www.example.com", 2)


def test_an_apps_grant_is_recorded(exchanges, recording, now):
    """So is what the app grants for its visitor."""
    answer = exchanges.run(
        method="POST",
        fields=OWN,
        policy=recording,
        on_request=lambda target: get_consent(target).grant("social"),
    )
    event = stored(recording, answer, now)
    assert (event.source, event.action) == ("app", "grant")


def test_no_record_no_grant(exchanges, failing, visitors):
    """If the store fails who grants is told so, keeps the former state, and gets no cookie."""
    answer = choose(exchanges, failing, "accept-all", cookie=visitors["some"])
    assert answer.status == 503
    assert answer.get("content-type").startswith("application/problem+json")
    assert own(answer) == []


def test_a_refusal_holds_without_a_store(exchanges, failing, visitors, caplog):
    """A refusal and a withdrawal are honoured; their record goes to the log as one line that can be imported."""
    for choice in ("reject-all", "withdraw"):
        caplog.clear()
        answer = choose(exchanges, failing, choice, cookie=visitors["some"])
        assert answer.status == 200
        assert len(own(answer)) == 1
        (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
        assert json.loads(record.getMessage())


def test_an_apps_grant_without_a_record_does_not_hold(exchanges, failing, caplog):
    """The page goes out without the grant, and the log says why."""
    answer = exchanges.run_lines(
        "share=1",
        method="POST",
        fields=OWN,
        policy=failing,
        on_request=lambda target: get_consent(target).grant("social"),
    )
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.cookies() == []
    assert "could not be recorded" in caplog.text


def test_a_start_without_the_store(make_policy, tmp_path, caplog, exchanges):
    """A site starts while its store is away: refusals hold, grants do not."""
    policy = make_policy(records=f"sqlite:///{tmp_path / 'no such folder' / 'consent.db'}")
    assert "cannot be reached" in caplog.text
    assert choose(exchanges, policy, "accept-all").status == 503
    assert choose(exchanges, policy, "reject-all").status == 200
    policy.records.close()


def test_keys_and_records_from_the_environment(tmp_path, monkeypatch):
    """A middleware that is given a path takes its keys and its store from the environment."""
    from consent_middleware import ConsentPolicy
    from consent_middleware.errors import ConfigurationError, ConfigurationWarning

    path = tmp_path / "cookies.toml"
    path.write_text('presets = ["flask"]\n')
    monkeypatch.delenv("CONSENT_SECRET_KEYS", raising=False)
    with pytest.raises(ConfigurationError, match="CONSENT_SECRET_KEYS"):
        ConsentPolicy.from_file(path)
    monkeypatch.setenv("CONSENT_SECRET_KEYS", "the-newest-key-of-all an-older-key-than-that")
    monkeypatch.setenv("CONSENT_RECORDS", f"sqlite:///{tmp_path / 'consent.db'}")
    policy = ConsentPolicy.from_file(path)
    assert policy.records is not None
    policy.records.close()
    with pytest.warns(ConfigurationWarning, match="fewer than 16"):
        ConsentPolicy.from_file(path, secret_keys="short", records="")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            ConsentPolicy.from_file(path, secret_keys=["sixteen or more characters"], records="").records
            is None
        )


def test_a_proxy_that_ends_tls(exchanges, make_policy, registry_text, visitors, caplog):
    """The server's scheme counts, a hint of a proxy's is told once, and `always` overrules both."""
    fields = [("X-Forwarded-Proto", "https")]
    policy = make_policy()
    for _ in range(2):
        answer = exchanges.run_lines(
            "_ga=1", cookie=visitors["some"], secure=False, fields=fields, policy=policy
        )
        assert answer.cookies() == []
    assert caplog.text.count('https = "always"') == 1
    always = make_policy(registry_text + '\n[consent]\nhttps = "always"\n')
    answer = exchanges.run_lines("_ga=1", cookie=visitors["some"], secure=False, policy=always)
    assert answer.cookies() == ["_ga=1"]
