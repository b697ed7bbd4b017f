"""Where a step of ours fails the answer leaves as for a visitor who allows nothing, and the page goes on."""

import asyncio
import logging
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consent_middleware import get_consent
from consent_middleware.asgi import ConsentMiddleware
from consent_middleware.engine import engine_of

GATED = """
[consent]
set_cookie_headers = ["X-Set"]
[gating]
mode = "enforce"
allow = ["fonts.example.net"]
[purposes.device]
[vendors.tags]
name = "Tags"
purposes = ["analytics"]
hosts = ["tags.example.org"]
"""
FAR = "https://tags.example.org/r"
SENT = [
    ("Set-Cookie", "_ga=1"),
    ("X-Set", "_ga=1"),
    ("Link", f"<{FAR}>; rel=preload; as=script"),
    ("NEL", '{"report_to": "far", "max_age": 9}'),
    ("Report-To", f'{{"group": "far", "max_age": 9, "endpoints": [{{"url": "{FAR}"}}]}}'),
    ("Reporting-Endpoints", f'far="{FAR}"'),
    ("Speculation-Rules", f'"{FAR}"'),
    ("Accept-CH", "DPR"),
    ("Critical-CH", "DPR"),
    ("Observe-Browsing-Topics", "?1"),
    ("Content-Security-Policy", f"img-src *; report-uri {FAR}, frame-src 'self'"),
    ("Content-Security-Policy-Report-Only", f"img-src 'self'; report-uri {FAR}"),
    ("Permissions-Policy", "camera=(), geolocation=*"),
    ("Cache-Control", "public, max-age=600"),
    ("Surrogate-Control", "max-age=600"),
    ("X-Odd", "a\r\nSet-Cookie: _ga=2"),
    ("X-One", "1"),
]
STEPS = [
    "stages.cache_control.personal",
    "stages.cache_control.is_resource",
    "stages.cache_control.is_shared",
    "core.filtering.ResponseContext",
    "stages.Recipient",
    "stages._first_cookie",
    "exchange.split_cookies",
    "stages.begins_with",
    "engine.declared_scopes",
    "engine.expire",
    "engine.Deletions.of",
    "core.filtering.Filter._judge",
    "core.filtering.Filter.today",
    "core.filtering.read_attributes",
    "core.verdict.Verdict.judge",
    "core.filtering.Filter.filter",
    "core.filtering.Filter.cookies_seen",
    "core.filtering._CookieReader.read",
    "engine.view_visitor",
    "core.permissions.Permissions.allowed_vendors",
    "core.permissions.Permissions.allows",
    "core.permissions.Permissions.allows_rule",
    "core.gating.Gate.governs",
    "core.gating.Gate.response_headers",
    "core.gating.Gate.hidden_request_headers",
    "core.gating.HostPattern.parse",
    "core.gating._combined",
    "core.gating._with",
    "core.gating.dictionary",
    "core.device_headers.without_members",
    "core.gating.loaded_by_link",
    "core.gating.makes_document",
    "core.gating.narrowed",
    "core.gating.shut_features",
    "core.gating.string_item",
    "core.gating.without_members",
    "core.cache_control.cache_control",
    "core.cache_control.vary",
    "core.registry.Registry.classify",
    "observations.Observations.places",
    "observations.Observations.note_set",
    "observe.DecisionLog.note",
    "policy.ConsentPolicy.cookie_name",
    "core.token.a2b_base64",
    "core.token._consent",
]


class FailedError(Exception):
    pass


def fail(*_, **__):
    raise FailedError


@pytest.fixture
def gated(make_policy, registry_text):
    return make_policy(registry_text + GATED)


def assert_closed(answer, seen):
    """The page is there, nothing of a refused party leaves, and what the browser may reach is said."""
    assert (answer.status, answer.body, answer.get("x-one")) == (200, b"hello", "1")
    assert "tags.example.org" not in str(answer.headers)
    assert "_ga" not in (answer.seen["cookie"] or "")
    assert [line for line in answer.cookies() if not line.startswith("_ga=; ")] == []
    told = dict(answer.headers)
    assert told.keys().isdisjoint({"x-set", "link", "reporting-endpoints", "speculation-rules", "accept-ch"})
    assert told.keys().isdisjoint({"critical-ch", "observe-browsing-topics", "x-odd", "surrogate-control"})
    assert told.get("nel") in {None, '{"max_age":0}'}
    assert any(name == "content-security-policy" and open_hosts(value) for name, value in answer.headers)
    assert "frame-src 'self'" in answer.get("content-security-policy")
    permissions = set(answer.get("permissions-policy").split(", "))
    assert {"geolocation=()", "browsing-topics=()"} <= permissions
    assert "geolocation=*" not in permissions
    assert "private" in answer.get("cache-control")
    assert "public" not in answer.get("cache-control")
    assert "cookie" in answer.get("vary").lower()
    assert "sec-ch-ua-model" not in seen


def open_hosts(policy):
    return policy.startswith("default-src 'self' ") and "fonts.example.net" in policy


def ask(exchanges, policy, headers=SENT, **request):
    """One exchange in which the app reads its visitor's consent; with what it saw of the request, as text."""
    seen = []

    def look(target):
        seen.append(str(target.get("headers") or sorted(target)).lower().replace("_", "-"))

    request.setdefault("cookie", "_ga=1; session=2")
    answer = exchanges.run(
        headers, fields=[("Sec-CH-UA-Model", '"X"')], policy=policy, on_request=look, **request
    )
    return answer, seen[0]


@pytest.mark.parametrize("step", STEPS)
def test_each_step_may_fail(exchanges, gated, monkeypatch, step):
    """Whichever step raises, 200 stays 200, no governed field leaves and the policy is there."""
    monkeypatch.setattr(f"consent_middleware.{step}", fail)
    assert_closed(*ask(exchanges, gated))


@pytest.mark.parametrize("number", range(1, 7))
def test_the_clock_may_fail_at_any_call(exchanges, make_policy, registry_text, now, number):
    """A clock that raises once, or from then on, costs no more than the visitor's permissions."""
    for broken in ({number}, set(range(number, 99))):
        calls = count(1)
        policy = make_policy(
            registry_text + GATED,
            clock=lambda calls=calls, broken=broken: fail() if next(calls) in broken else now,
        )
        assert_closed(*ask(exchanges, policy))


@pytest.mark.parametrize("step", ["Gate.response_headers", "HostPattern.parse", "makes_document"])
def test_who_allows_everything_is_closed_too(exchanges, gated, visitors, monkeypatch, step):
    """On a failure nobody's permissions count."""
    monkeypatch.setattr(f"consent_middleware.core.gating.{step}", fail)
    answer = exchanges.run(SENT, cookie=visitors["all"], policy=gated)
    assert answer.status == 200
    assert "tags.example.org" not in str(answer.headers)
    assert "link" not in dict(answer.headers)
    assert answer.cookies() == []


def test_a_log_that_fails(exchanges, gated, monkeypatch):
    """Neither the failure nor what happens while it is told reaches the visitor."""
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    monkeypatch.setattr("consent_middleware.exchange.split_cookies", fail)
    monkeypatch.setattr(logging.getLogger("consent_middleware"), "filters", [fail])
    assert_closed(*ask(exchanges, gated))


def test_an_answer_that_was_personal_stays_so(exchanges, make_policy, monkeypatch):
    """A page that was made for one visitor's consent is not offered to caches on a failure."""
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    headers = [("Cache-Control", "public, max-age=600"), ("Expires", "Mon, 23 Nov 2027 12:00:00 GMT")]
    answer = exchanges.run(
        headers, policy=make_policy(), on_request=lambda target: get_consent(target).allows("analytics")
    )
    assert answer.get("cache-control") == "private, no-cache, max-age=0"
    assert (answer.get("expires"), answer.get("vary")) == (None, "Cookie, Consent-Token, Sec-GPC")


def test_the_apps_own_policies_go_on_to_protect_it(exchanges, gated, monkeypatch):
    """A failure of ours takes the reports out of the app's policy and the features from its own line."""
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    policies = [
        ("img-src *; report-uri /r, frame-src 'self'", "img-src *;, frame-src 'self'"),
        (f"REPORT-URI {FAR} /r;img-src *", ";img-src *"),
        (f"report-uri-x {FAR[8:]}; img-src *", f"report-uri-x {FAR[8:]}; img-src *"),
        (f"img-src x,\treport-uri {FAR}", "img-src x,"),
    ]
    for before, after in policies:
        answer = exchanges.run(
            [("Content-Security-Policy", before), ("Permissions-Policy", "camera=(), geolocation=*")],
            policy=gated,
        )
        ours = engine_of(gated).fail_closed.policy
        assert [v for n, v in answer.headers if n == "content-security-policy"] == [after, ours]
        assert answer.get("permissions-policy").startswith("camera=(), geolocation=(), ")
    closed = engine_of(gated).fail_closed
    twice = closed.headers(answer.headers)
    assert closed.headers(twice) == twice


def test_no_store_stays(exchanges, gated, monkeypatch):
    """What nobody was to keep is kept by nobody on a failure either."""
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    answer = exchanges.run([("Cache-Control", "No-Store"), ("Vary", "Accept")], policy=gated)
    assert "no-store" in answer.get("cache-control")
    assert answer.get("vary").startswith("Accept")


def test_a_withdrawal_survives_a_failure(exchanges, gated, visitors, now, monkeypatch):
    """What was chosen and recorded leaves although the rest of the answer cannot be judged."""
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    answer = exchanges.run(
        SENT,
        method="POST",
        cookie=visitors["all"],
        fields=[("Sec-Fetch-Site", "same-origin")],
        policy=gated,
        on_request=lambda target: get_consent(target).withdraw(),
    )
    [line] = answer.cookies()
    name, _, token = line.partition(";")[0].partition("=")
    assert name == "__Host-consent"
    assert gated.read_consent(token, now).purposes == ()
    assert "tags.example.org" not in str(answer.headers)


def test_report_mode_still_gates_cookies(exchanges, make_policy, registry_text, monkeypatch):
    """Where third parties are only reported a failure takes the cookies and leaves the rest."""
    policy = make_policy(registry_text + GATED.replace('"enforce"', '"report"'))
    monkeypatch.setattr("consent_middleware.core.gating.Gate.response_headers", fail)
    answer = exchanges.run(SENT, policy=policy)
    assert (answer.cookies(), answer.get("x-set")) == ([], None)
    assert answer.get("link") == dict(SENT)["Link"]
    assert answer.get("accept-ch") == "DPR"


def connect(policy, *messages, headers=()):
    """What leaves of the messages that an ASGI app sends."""
    sent = []

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": list(headers)}
    asyncio.run(ConsentMiddleware(app, policy)(scope, None, send))
    return sent


HINTS = {
    "type": "http.response.early_hint",
    "links": [f"<{FAR}>; rel=preload".encode(), b"</a>; rel=preload"],
}


@pytest.mark.parametrize(
    "step",
    [
        "gating.Gate.other_headers",
        "permissions.Permissions.allowed_vendors",
        "gating.HostPattern.parse",
        "gating.loaded_by_link",
    ],
)
def test_early_hints(gated, monkeypatch, step):
    """Of a 103 that cannot be judged nothing towards a closed host leaves, and the app goes on."""
    monkeypatch.setattr(f"consent_middleware.core.{step}", fail)
    last = {"type": "http.response.body", "body": b"hello"}
    sent = connect(gated, HINTS, last)
    assert sent[-1] == last
    assert "tags.example.org" not in str(sent)


def test_early_hints_of_odd_types(gated):
    """Links of another type are judged as the text that they are, and leave as octets."""

    class Link:
        def __str__(self):
            return f"<{FAR}>; rel=preload"

    far = str(Link())
    odd = [far, far.encode(), bytearray(far.encode()), memoryview(far.encode()), Link()]
    for links in [odd, *([link] for link in odd), None]:
        assert connect(gated, {"type": "http.response.early_hint", "links": links}) == []
    [sent] = connect(gated, {"type": "http.response.early_hint", "links": [5, *odd, "</a>; rel=preload"]})
    assert sent["links"] == [b"5", b"</a>; rel=preload"]


@pytest.mark.parametrize("fails", [False, True])
def test_trailers_carry_nothing_governed(gated, monkeypatch, fails):
    """Servers that make response fields of trailers send no field past the gate that way."""
    if fails:
        monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    fields = [(name.lower().encode(), value.encode()) for name, value in SENT if name != "X-Set"]
    trailers = {"type": "http.response.trailers", "headers": [*fields, (b"x-set", b"_ga=1")]}
    [sent] = connect(gated, trailers)
    names = {name for name, _ in sent["headers"]}
    assert b"x-one" in names
    assert names.isdisjoint({b"set-cookie", b"x-set", b"link", b"accept-ch", b"reporting-endpoints"})
    assert dict(sent["headers"]).get(b"nel") in {None, b'{"max_age":0}'}
    assert "tags.example.org" not in str(sent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(FAR),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["report_to", "group", "endpoints", "url", "max_age", "x"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)
GOVERNED = [name for name, _ in SENT if name not in {"Set-Cookie", "X-Set", "Cache-Control", "X-One"}]


def as_text(value):
    import json

    return json.dumps(value, ensure_ascii=True)


VALUES = st.one_of(
    JSON.map(as_text),
    st.lists(JSON.map(as_text), max_size=3).map(", ".join),
    st.binary(max_size=60).map(lambda octets: octets.decode("latin-1")),
    st.sampled_from(
        ['{"report_to": ["x"]}', "{}", "[]", '{"report_to": {}}', '{"report_to": 1e999}', '"\\ud800"']
    ),
    st.sampled_from(
        [
            '{"max_age": 99999999999999999999999999999999, "endpoints": [{"url": "https://x.example"}]}',
            '{"endpoints": [{"url": "https://tags.example.org"}], "x": "\\ud800"}',
            '{"group": ["g"], "endpoints": [{"url": "/r"}]}',
        ]
    ),
)


@example(fields=[("NEL", '{"report_to": ["x"]}')])
@example(fields=[("NEL", '{"report_to": {}}')])
@example(
    fields=[("NEL", "{}"), ("Report-To", "{}"), ("Reporting-Endpoints", "{}"), ("Permissions-Policy", "{}")]
)
@given(fields=st.lists(st.tuples(st.sampled_from(GOVERNED), VALUES), min_size=1, max_size=4))
def test_any_value_of_a_governed_field(both_doors, make_policy, registry_text, fields):
    """Neither JSON of any shape nor any octets make judging fail: the policy is there, the log is empty."""
    policy = make_policy(registry_text + GATED)
    records = []
    logger = logging.getLogger("consent_middleware")
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append
    logger.addHandler(handler)
    try:
        for door in both_doors:
            answer = door.run([*fields, ("X-One", "1")], policy=policy)
            assert answer.status == 200
            assert any(map(open_hosts, [v for n, v in answer.headers if n == "content-security-policy"]))
    finally:
        logger.removeHandler(handler)
    assert records == []
