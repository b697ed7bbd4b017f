"""What the log says: names and reasons, bounded, and nothing that a request or a failure holds."""

import logging
import re
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import consent_middleware
from consent_middleware import get_consent
from consent_middleware.errors import RecordStoreError

PACKAGE = str(Path(consent_middleware.__file__).parent)
A_MINUTE = 60
SECRET = "s3cr3t"
NAVIGATION = [("Sec-Fetch-Site", "none")]


class Clock:
    """A time that tests move."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def lines(caplog):
    """What was logged since it was last asked for, formatted as a site's handler would, exceptions included."""
    formatter = logging.Formatter("%(levelname)s %(message)s")

    def take():
        told = [formatter.format(record) for record in caplog.records]
        caplog.clear()
        return told

    return take


def test_no_path_is_logged(exchanges, make_policy, lines):
    """A path can be a secret: what is logged of undeclared cookies names none."""
    exchanges.run(
        cookie="promo=1", path=f"/reset/{SECRET}?key={SECRET}", fields=NAVIGATION, policy=make_policy()
    )
    (told,) = lines()
    assert "promo" in told
    assert SECRET not in told
    assert "reset" not in told


def raising(*_):
    raise ValueError(f"/reset/{SECRET} session={SECRET}")


@pytest.mark.parametrize("hook", ["model", "on_decision", "on_choice", "clock"])
def test_a_failure_is_logged_without_what_it_says(exchanges, make_policy, clock, lines, hook):
    """What a site's function raises may hold the request: its kind and its place are logged, not its words."""
    policy = make_policy(**{"clock": clock, hook: raising})
    answer = exchanges.run_lines(
        "_ga=1",
        cookie=f"_ga={SECRET}",
        path=f"/reset/{SECRET}",
        policy=policy,
        method="POST",
        fields=[("Sec-Fetch-Site", "same-origin")],
        on_request=(lambda target: get_consent(target).withdraw()) if hook == "on_choice" else None,
    )
    assert (answer.status, answer.body) == (200, b"hello")
    told = "\n".join(lines())
    assert SECRET not in told
    assert "reset" not in told
    assert re.search(r"ValueError at .*test_log\.py:\d+ in raising", told)


def test_a_clock_that_fails_does_not_silence_its_failure(exchanges, make_policy, lines):
    """The log counts by the policy's clock: when that fails, it says so and the page goes on."""
    answer = exchanges.run_lines("_ga=1", policy=make_policy(clock=raising))
    assert answer.body == b"hello"
    assert any("ValueError" in told for told in lines())


def test_lines_are_few_a_minute(exchanges, make_policy, clock, lines):
    """Names without end make sixty lines a minute and one that says so; the next minute has its own."""
    policy = make_policy(clock=clock)
    for minute in range(2):
        for number in range(200):
            exchanges.run_lines(
                f"made-up-{minute}-{number}=1",
                fields=NAVIGATION,
                cookie=f"came-{minute}-{number}=1",
                policy=policy,
            )
        told = lines()
        assert len(told) == A_MINUTE + 1
        assert "more" in told[-1]
        clock.now += timedelta(seconds=60)


def test_a_drop_that_was_not_told_is_told_later(exchanges, make_policy, clock, lines):
    """A drop for which there was no room in the log is not taken for told."""
    policy = make_policy(clock=clock)
    for number in range(200):
        exchanges.run_lines(f"made-up-{number}=1", policy=policy)
    exchanges.run_lines("promo=1", policy=policy)
    assert "promo" not in "".join(lines())
    clock.now += timedelta(seconds=60)
    exchanges.run_lines("promo=1", policy=policy)
    assert "promo" in "".join(lines())


TEXT = st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(
    ["\x00", "\x85", "\xa0", "\x1b[2J", "é" * 40, "%s", "{name}", "x" * 5000]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5))
def test_nothing_of_a_request_but_names_is_logged(both_doors, make_policy, lines, sent):
    """Whatever names, values and paths are sent, a line is short, one line, and holds no value and no path."""
    for exchanges in both_doors:
        policy = make_policy()
        for name, value, path in sent:
            cookie = f"{name}={SECRET}{value}; {SECRET}; ={SECRET}"
            hidden = re.sub(r"[^!->@-~]", "-", path) + SECRET
            exchanges.run_lines(
                f"{name}={SECRET}; Path=/{SECRET}",
                cookie=cookie,
                path=f"/{hidden}",
                fields=NAVIGATION,
                policy=policy,
            )
        for told in lines():
            assert told.isprintable()
            assert len(told) < 700
            assert SECRET not in told


def test_nothing_long_is_remembered(exchanges, make_policy, visitors):
    """Names, paths and attributes of 20,000 octets leave nothing behind: in memory is what is short."""
    policy = make_policy()

    def send(numbers, length):
        for number in numbers:
            long = f"{number}-" + "x" * length
            exchanges.run_lines(
                f"_ga_{long[:3000]}=1; Path=/{long}",
                f"cart_{number}=1; Domain={long}",
                f"lang=1; {long}",
                cookie=f"_ga_{long}=1; {long}=1; {visitors['some']}",
                fields=NAVIGATION,
                path=f"/{long}/",
                policy=policy,
            )

    send(range(20), 20_000)
    tracemalloc.start()
    try:
        send(range(20, 40), 20_000)
        remembered = [
            stat.size
            for stat in tracemalloc.take_snapshot().statistics("filename")
            if stat.traceback[0].filename.startswith(PACKAGE)
        ]
    finally:
        tracemalloc.stop()
    assert remembered
    assert sum(remembered) < 40_000
    assert max(len(seen.path) for seen in policy.observations.undeclared()) == 256


def test_many_tokens_are_not_remembered_together(exchanges, make_policy, visitors):
    """A stranger who repeats a choice in one request, so and so many times, leaves nothing behind in memory."""
    policy = make_policy()

    def send(numbers):
        for number in numbers:
            cookie = "; ".join([visitors["some"]] * number)
            assert exchanges.run_lines("_ga=1", cookie=cookie, policy=policy).cookies() == ["_ga=1"]

    send(range(1, 20))
    tracemalloc.start()
    try:
        send(range(20, 80))
        statistics = tracemalloc.take_snapshot().statistics("filename")
    finally:
        tracemalloc.stop()
    remembered = [stat.size for stat in statistics if stat.traceback[0].filename.startswith(PACKAGE)]
    assert remembered
    assert sum(remembered) < 20_000


@pytest.fixture
def failing(make_policy, tmp_path, monkeypatch, clock):
    """A policy with a store that fails."""
    policy = make_policy(records=f"sqlite:///{tmp_path / 'consent.db'}", clock=clock)

    def fail(event):
        raise RecordStoreError("the record store failed: the disk is full\nand more")

    monkeypatch.setattr(policy.records, "append", fail)
    monkeypatch.setattr(policy.records, "latest", fail)
    yield policy
    policy.records.close()


def post(exchanges, policy, choice):
    fields = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")]
    page = exchanges.run(path="/consent/", policy=policy).body.decode()
    offer = re.search(r'name="offer" value="([^"]+)"', page)[1]
    body = f"choice={choice}&offer={offer}".encode()
    return exchanges.run(method="POST", path="/consent/", body=body, fields=fields, policy=policy).status


def grant(exchanges, policy):
    return exchanges.run(
        method="POST",
        fields=[("Sec-Fetch-Site", "same-origin")],
        policy=policy,
        on_request=lambda target: get_consent(target).grant("social"),
    ).status


def receipt(exchanges, policy, cookie):
    return exchanges.run(path="/consent/receipt", cookie=cookie, policy=policy).status


def test_a_failing_store_tells_why_once_a_minute(exchanges, failing, clock, lines, visitors):
    """Whoever meets a store that fails, the cause is in the log, once a minute."""
    attempts = {
        "accept": (lambda: post(exchanges, failing, "accept-all"), 503),
        "reject": (lambda: post(exchanges, failing, "reject-all"), 303),
        "grant": (lambda: grant(exchanges, failing), 200),
        "receipt": (lambda: receipt(exchanges, failing, visitors["some"]), 503),
    }
    for attempt, status in attempts.values():
        told = []
        for _ in range(3):
            assert attempt() == status
            told += lines()
        (cause,) = [line for line in told if "the disk is full" in line]
        assert cause.isprintable()
        clock.now += timedelta(seconds=60)


def test_a_record_that_cannot_be_stored_is_logged_whole(exchanges, failing, lines):
    """The one line that is not cut: the only proof of a refusal. Of too many in a minute the log says so."""
    for _ in range(A_MINUTE + 10):
        assert post(exchanges, failing, "reject-all") == 303
    told = lines()
    whole = [line for line in told if "consent_record" in line]
    assert len(whole) == A_MINUTE
    assert all(line.endswith("}") for line in whole)
    assert sum("more refusals could not be stored" in line for line in told) == 1


def test_a_start_without_a_store_names_no_row_and_no_url(make_policy, tmp_path, lines):
    """Why the store cannot be reached is logged at the start, as one line, without a traceback."""
    policy = make_policy(records=f"sqlite:///{tmp_path}/{SECRET}/consent.db")
    (told,) = lines()
    assert "unable to open" in told
    assert SECRET not in told
    policy.records.close()


def test_what_a_report_says_is_cut(exchanges, make_policy, registry_text, lines):
    """Anybody can post reports: a host of thousands of letters is no line of thousands of letters."""
    policy = make_policy(
        registry_text
        + '[gating]\nmode = "report"\n[vendors.t]\nname="T"\npurposes=["analytics"]\nhosts=["t.example"]\n'
    )
    body = '{"csp-report":{"blocked-uri":"https://%s.example/%s","effective-directive":"script-src"}}'
    host = ".".join(["a" * 60] * 4)
    for longer, status in ((host, 204), (host * 20, 204)):
        answer = exchanges.run(
            method="POST",
            path="/consent/report",
            body=(body % (longer, SECRET)).encode(),
            fields=[("Content-Type", "application/csp-report")],
            policy=policy,
        )
        assert answer.status == status
    (told,) = lines()
    assert len(told) < 700
    assert SECRET not in told
    assert [len(seen.host) for seen in policy.observations.loaded()] == [len(f"{host}.example")]


def test_refusals_without_a_store_do_not_fill_the_log(exchanges, make_policy, tmp_path, monkeypatch, caplog):
    """Records that go to the log are bounded as all lines are: strangers can refuse as often as they like."""
    from consent_middleware.errors import RecordStoreError

    policy = make_policy(records=f"sqlite:///{tmp_path}/x.db")

    def fail(event):
        raise RecordStoreError("down")

    monkeypatch.setattr(policy.records, "append", fail)
    for _ in range(300):
        exchanges.run(
            method="POST",
            path="/consent/",
            body=b"choice=reject-all",
            policy=policy,
            fields=[("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")],
        )
    assert len(caplog.records) <= 130
    policy.records.close()
