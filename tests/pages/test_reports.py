"""Reports of what pages load are taken, bounded, and never believed too much."""

import json

import pytest

REPORT = """
[gating]
mode = "report"
[vendors.tags]
name = "Tags"
purposes = ["analytics"]
hosts = ["tags.example.org"]
"""


@pytest.fixture
def reporting(make_policy, registry_text):
    return make_policy(registry_text + REPORT)


def report(exchanges, policy, *bodies, kind="application/csp-report"):
    answers = [
        exchanges.run(
            method="POST",
            path="/consent/report",
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            fields=[("Content-Type", kind)],
            policy=policy,
        )
        for body in bodies
    ]
    return [answer.status for answer in answers]


def violation(url):
    return {"csp-report": {"blocked-uri": url, "effective-directive": "script-src-elem"}}


def test_reports_are_observed(exchanges, reporting, caplog):
    """What browsers would not have loaded is counted by host, and told once."""
    url = "https://cdn.example.net/secret/path?user=1"
    assert report(exchanges, reporting, violation(url), violation(url)) == [204, 204]
    (loaded,) = reporting.observations.loaded()
    assert (loaded.host, loaded.count) == ("cdn.example.net", 2)
    assert caplog.text.count("cdn.example.net") == 1
    assert "secret" not in caplog.text


def test_hostile_reports(exchanges, reporting):
    """Garbage gets an answer, and a flood fills neither the memory nor the log."""
    assert report(exchanges, reporting, b"", b"[" * 60_000, b"\xff", {"csp-report": 1}) == [204] * 4
    assert report(exchanges, reporting, b"x" * 70_000) == [413]
    flood = [violation(f"https://host{number}.example/") for number in range(700)]
    report(exchanges, reporting, *flood)
    assert len(reporting.observations.loaded()) == 600


def test_no_reports_without_report_mode(exchanges, policy):
    """Where nothing is asked for nothing is taken."""
    assert report(exchanges, policy, violation("https://a.example/")) == [404]
