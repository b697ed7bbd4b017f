"""Pages and records under any event loop: what blocks runs in a thread of the loop that there is, or at once."""

import asyncio
import json
import sys
import threading
from types import SimpleNamespace

import pytest

from consent_middleware import get_consent
from consent_middleware.asgi import ConsentMiddleware
from consent_middleware.worker import in_worker

HEADERS = [(b"host", b"www.example.com"), (b"sec-fetch-site", b"same-origin")]


@pytest.fixture
def no_trio(monkeypatch):
    """As where trio is not imported, whatever other tests have done."""
    monkeypatch.delitem(sys.modules, "trio", raising=False)


def run_without_loop(call, *args):
    """What a coroutine returns that never waits: no loop is there to wake it."""
    coroutine = call(*args)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def run_asyncio(call, *args):
    return asyncio.run(call(*args))


def run_trio(call, *args):
    return pytest.importorskip("trio").run(call, *args)


@pytest.fixture(params=["none", "asyncio", "trio"])
def run(request):
    """Runs a coroutine function under one kind of loop."""
    if request.param == "none":
        request.getfixturevalue("no_trio")
    return {"none": run_without_loop, "asyncio": run_asyncio, "trio": run_trio}[request.param]


def serve(run, policy, path, *, method="GET", body=b"", app=None, headers=()):
    """Status, header fields and body of what leaves."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": body}

    scope = {
        "type": "http",
        "method": method,
        "scheme": "https",
        "path": path,
        "headers": [*HEADERS, *headers],
    }
    run(ConsentMiddleware(app, policy), scope, receive, send)
    start, content = sent
    return start["status"], dict(start["headers"]), content["body"]


def test_pages(run, policy):
    """They are synchronous code, with templates to read."""
    status, headers, body = serve(run, policy, "/consent/")
    assert (status, headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert b"data-consent-action" in body
    status, _, body = serve(run, policy, "/consent/state")
    assert (status, json.loads(body)["decided"]) == (200, False)


def test_a_choice_on_a_page_is_recorded(run, make_policy, tmp_path):
    """In a store that blocks."""
    policy = make_policy(records=f"sqlite:///{tmp_path / 'consent.db'}")
    status, headers, _ = serve(
        run,
        policy,
        "/consent/",
        method="POST",
        body=b'{"choice": "reject-all"}',
        headers=[(b"content-type", b"application/json")],
    )
    assert (status, headers[b"set-cookie"].partition(b"=")[0]) == (200, b"__Host-consent")
    assert [record.event.state for record in policy.records.records()] == ["refused"]


def test_a_choice_of_the_apps_is_recorded(run, make_policy, tmp_path):
    """Before its answer leaves: a page that answers 200 elsewhere does so here."""
    policy = make_policy(records=f"sqlite:///{tmp_path / 'consent.db'}")

    async def app(scope, receive, send):
        get_consent(scope).grant("social")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    status, headers, body = serve(run, policy, "/page", method="POST", app=app)
    assert (status, headers[b"set-cookie"].partition(b"=")[0], body) == (200, b"__Host-consent", b"hello")
    assert [record.event.granted for record in policy.records.records()] == [
        ("cookie:share", "purpose:social")
    ]


async def worker_name():
    return await in_worker(lambda: threading.current_thread().name)


def test_a_loop_is_not_blocked():
    """Under asyncio another thread does it."""
    assert asyncio.run(worker_name()) != threading.current_thread().name


def test_trio_is_not_blocked():
    """Under trio neither."""
    assert run_trio(worker_name) != threading.current_thread().name


def test_without_a_loop_it_is_done_at_once(no_trio):
    """There is nobody to hand it to."""
    assert run_without_loop(worker_name) == threading.current_thread().name


def test_trios_own_threads_are_used(monkeypatch):
    """Wherever trio is what runs, and asyncio is not."""
    called = []

    async def run_sync(call, *args):
        called.append(args)
        return call(*args)

    monkeypatch.setitem(sys.modules, "trio", SimpleNamespace(to_thread=SimpleNamespace(run_sync=run_sync)))
    assert run_without_loop(in_worker, int, "7") == 7
    assert asyncio.run(in_worker(int, "8")) == 8
    assert called == [("7",)]


def test_errors_are_the_callers(run):
    """They arrive where the call was awaited."""

    async def fail():
        with pytest.raises(LookupError):
            await in_worker({}.__getitem__, "x")

    run(fail)
