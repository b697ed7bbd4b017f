"""What is particular to ASGI: its messages, scopes and freedoms."""

import asyncio

import pytest

from consent_middleware import get_consent
from consent_middleware.asgi import ConsentMiddleware
from consent_middleware.errors import ConfigurationError


def run(policy, app, *, scope=None, receive=None):
    """Every message that leaves when `app` serves `scope`."""
    sent = []

    async def send(message):
        sent.append(message)

    async def nothing():
        return {"type": "http.request"}

    base = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": []}
    asyncio.run(ConsentMiddleware(app, policy)({**base, **(scope or {})}, receive or nothing, send))
    return sent


def saying(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


LINES = [(b"set-cookie", b"_ga=1"), (b"set-cookie", b"session=1")]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.start", "status": 200},
        {"type": "websocket.accept", "subprotocol": None},
        {"type": "websocket.http.response.start", "status": 403},
        {"type": "http.response.trailers", "more_trailers": False},
    ],
)
@pytest.mark.parametrize("kind", [list, tuple, iter, lambda fields: ([n, v] for n, v in fields)])
def test_every_message_with_headers(policy, message, kind):
    """Cookies are judged in every message that can carry them, whatever iterable they come in."""
    (sent,) = run(policy, saying({**message, "headers": kind(LINES)}))
    assert [value for name, value in sent["headers"] if name == b"set-cookie"] == [b"session=1"]
    assert {key: value for key, value in sent.items() if key != "headers"} == message


def test_trailers_get_nothing_of_ours(policy):
    """Trailers lose what may not leave and gain nothing."""
    (sent,) = run(policy, saying({"type": "http.response.trailers", "headers": [*LINES, (b"x-sum", b"1")]}))
    assert sent["headers"] == [(b"set-cookie", b"session=1"), (b"x-sum", b"1")]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.pathsend", "path": "/x"},
        {"type": "http.response.debug", "info": {}},
        {"type": "websocket.close", "code": 1000},
        {"type": "something.new"},
    ],
)
def test_other_messages_pass(policy, message):
    """What carries no response headers passes as the very object that it was."""
    (sent,) = run(policy, saying(message))
    assert sent is message


@pytest.mark.parametrize(
    "kind",
    ["http.response.push", "http.response.informational", "http.response.trailers", "something.new"],
)
def test_any_message_with_headers(policy, kind):
    """A message of any type that carries header fields loses what may not leave, and gains nothing."""
    fields = [*LINES, (b"Set-Cookie:", b"_ga=1"), (b"x", b"a\r\nset-cookie: _ga=1"), (b"x", b"y")]
    (sent,) = run(policy, saying({"type": kind, "headers": fields}))
    assert sent == {"type": kind, "headers": [(b"set-cookie", b"session=1"), (b"x", b"y")]}
    (sent,) = run(policy, saying({"type": kind, "headers": fields[4:]}))
    assert sent == {"type": kind, "headers": fields[4:]}


def test_an_interim_answer_starts_nothing(policy):
    """After a 1xx answer a choice can still be made, until the answer itself starts."""

    async def app(scope, receive, send):
        await send({"type": "http.response.informational", "status": 103, "headers": [(b"x", b"y")]})
        get_consent(scope).grant("analytics")
        await send({"type": "http.response.start", "status": 200, "headers": LINES})

    fields = [(b"sec-fetch-site", b"same-origin")]
    sent = run(policy, app, scope={"method": "POST", "headers": fields})
    assert [value for name, value in sent[1]["headers"]][:2] == [b"_ga=1", b"session=1"]


TAGS = """
[gating]
mode = "enforce"
[vendors.tags]
name = "Tags"
purposes = ["analytics"]
hosts = ["tags.example.org"]
"""


def test_links_outside_of_the_start(make_policy, registry_text):
    """Links to refused vendors go from trailers and interim answers too: Hypercorn makes a start of trailers."""
    policy = make_policy(registry_text + TAGS)
    fields = [
        (b"link", b"<https://tags.example.org/t.js>; rel=preload"),
        (b"link", b"</own.css>; rel=preload"),
    ]
    for kind in ("http.response.trailers", "http.response.informational"):
        (sent,) = run(policy, saying({"type": kind, "headers": iter(fields)}))
        assert sent["headers"] == fields[1:]


@pytest.mark.parametrize("several", [list, tuple, iter])
def test_early_hints_are_one_field_each(policy, several):
    """A link with a line break sends nothing but a link, also where third parties are not gated."""
    links = [b"</a>; rel=preload", b"</b>\r\nSet-Cookie: _ga=1", "</c>\nX: y", bytearray(b"</d>\xe9")]
    sent = run(policy, saying({"type": "http.response.early_hint", "links": several(links)}))
    assert sent == [{"type": "http.response.early_hint", "links": [links[0], b"</c> X: y", b"</d>\xe9"]}]
    assert run(policy, saying({"type": "http.response.early_hint", "links": several(links[1:2])})) == []


def test_early_hints_while_observing(make_policy, registry_text):
    """In observe mode they leave as they are."""
    policy = make_policy(registry_text + TAGS + '\n[consent]\nmode = "observe"\n')
    links = ["</a>\n", b"<https://tags.example.org>; rel=preconnect"]
    (sent,) = run(policy, saying({"type": "http.response.early_hint", "links": iter(links)}))
    assert sent["links"] == links


@pytest.mark.parametrize(
    ("subprotocol", "left"),
    [("chat", "chat"), (None, None), ("chat\r\nSet-Cookie: _ga=1", None), ("a b", None), ("", None)],
)
def test_subprotocols(policy, subprotocol, left):
    """The subprotocol of a websocket is the value of a field: what is no token does not leave."""
    message = {"type": "websocket.accept", "subprotocol": subprotocol}
    (sent,) = run(policy, saying(message), scope={"type": "websocket", "scheme": "wss"})
    assert sent == {**message, "headers": [], "subprotocol": left}


def test_a_scope_kept_by_the_app(policy):
    """What an app keeps of a finished exchange opens no way past the judging."""
    kept = []

    async def app(scope, receive, send):
        kept.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": LINES})

    for _ in range(2):
        (sent,) = run(policy, app, scope=kept[0] if kept else {})
        assert [value for name, value in sent["headers"] if name == b"set-cookie"] == [b"session=1"]


def test_the_apps_objects_stay(policy):
    """A message or header list may be a constant of the app: neither is changed."""
    fields = [*LINES]
    message = {"type": "http.response.start", "status": 200, "headers": fields}
    run(policy, saying(message))
    assert message == {"type": "http.response.start", "status": 200, "headers": fields}
    assert fields == LINES


def test_missing_headers(policy):
    """Headers are optional; a server may index them, so they are there."""
    (sent,) = run(policy, saying({"type": "http.response.start", "status": 204}))
    assert sent["headers"] == []


def test_headers_of_a_wrong_type(policy):
    """Text where octets belong is judged all the same."""
    (sent,) = run(
        policy, saying({"type": "http.response.start", "headers": [("set-cookie", "_ga=1"), ("x", "y")]})
    )
    assert (b"x", b"y") in sent["headers"]
    assert not [value for _, value in sent["headers"] if b"_ga" in value]
    fields = [(bytearray(b"Set-Cookie"), bytearray(b"session=1")), (b"x", memoryview(b"y")), LINES[0]]
    (sent,) = run(policy, saying({"type": "http.response.start", "headers": fields}))
    assert {(b"Set-Cookie", b"session=1"), (b"x", b"y")} <= set(sent["headers"])


def test_start_leaves_before_the_body(policy):
    """The decision falls in the start message: it leaves before the app says anything more."""
    order = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": LINES})
        order.append("between")
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        order.append(message["type"])

    scope = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": []}
    asyncio.run(ConsentMiddleware(app, policy)(scope, None, send))
    assert order == ["http.response.start", "between", "http.response.body"]


def test_each_start_is_judged_afresh(policy):
    """A second start, which some apps try, is judged on its own."""
    start = {"type": "http.response.start", "status": 200, "headers": LINES}
    for sent in run(policy, saying(start, start)):
        assert [value for name, value in sent["headers"] if name == b"set-cookie"] == [b"session=1"]


def test_other_scopes_pass(policy):
    """Lifespan and scopes of the future pass as the very objects that they were."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, receive, send = {"type": "lifespan"}, object(), object()
    asyncio.run(ConsentMiddleware(app, policy)(scope, receive, send))
    assert seen == [(scope, receive, send)]
    assert seen[0][0] is scope


def test_several_cookie_fields(policy):
    """HTTP/2 splits Cookie into fields: they are judged as one, which they are where some of it is hidden."""
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)

    headers = [(b"Cookie", b"_ga=1"), (b"x", b"y"), (b"cookie", b"session=1; ads_id=2"), (b"cookie", b"a=b")]
    run(policy, app, scope={"headers": headers})
    assert seen["headers"] == [(b"cookie", b"session=1; a=b"), (b"x", b"y")]
    headers = [(b"Cookie", b"session=1"), (b"x", b"y"), (b"cookie", b"a=b")]
    run(policy, app, scope={"headers": headers})
    assert seen["headers"] == headers, "nothing is hidden"


def test_a_choice_spread_over_fields(policy, visitors):
    """Consent is found in whichever field it comes, in any case of the name."""
    headers = [(b"cookie", b"session=1"), (b"COOKIE", visitors["some"].encode())]
    message = {"type": "http.response.start", "status": 200, "headers": LINES}
    (sent,) = run(policy, saying(message), scope={"headers": headers})
    assert [value for name, value in sent["headers"] if name == b"set-cookie"] == [b"_ga=1", b"session=1"]


def test_websockets(policy):
    """A websocket's request is filtered too, and no choice can be made on it."""
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        with pytest.raises(Exception, match="websocket"):
            get_consent(scope).grant("analytics")

    run(policy, app, scope={"type": "websocket", "scheme": "wss", "headers": [(b"cookie", b"_ga=1; a=b")]})
    assert seen["headers"] == [(b"cookie", b"a=b")]


def test_errors_of_the_server_pass(policy):
    """What send raises when the client is gone reaches the app."""

    async def app(scope, receive, send):
        with pytest.raises(OSError, match="gone"):
            await send({"type": "http.response.start", "status": 200, "headers": LINES})

    async def send(message):
        raise OSError("gone")

    scope = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": []}
    asyncio.run(ConsentMiddleware(app, policy)(scope, None, send))


def test_nested_with_the_same_registry(policy, make_policy):
    """An inner copy with the same registry leaves all judging to the outer one."""
    message = {"type": "http.response.start", "status": 200, "headers": LINES}
    seen = []
    inner = ConsentMiddleware(saying(message), make_policy(on_decision=lambda d, t: seen.append(d)))
    (sent,) = run(policy, inner)
    assert seen == []
    assert [value for name, value in sent["headers"] if name == b"set-cookie"] == [b"session=1"]


def test_nested_with_another_registry(policy, make_policy, registry_text):
    """Two registries around one app are an error: at the start, or at the first request when hidden."""
    inner = ConsentMiddleware(saying(), make_policy(registry_text + '\n[consent]\nunknown = "keep"\n'))
    with pytest.raises(ConfigurationError, match="different registry"):
        ConsentMiddleware(inner, policy)

    async def hiding(scope, receive, send):
        await inner(scope, receive, send)

    with pytest.raises(ConfigurationError, match="different registry"):
        run(policy, hiding)


def test_a_start_with_a_key_of_hints_is_sent(policy):
    """Only a message of hints that lost all its links is left out."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [], "links": []})

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "https", "headers": []}
    asyncio.run(ConsentMiddleware(app, policy)(scope, None, send))
    assert sent == ["http.response.start"]
