"""No request costs more than its size: work and memory are linear in what strangers and apps send.

Alone among the tests this one looks at the clock: at the CPU time of its own thread, in the best of several runs, and
only where there is enough of it to compare. What grows faster than its input fails by far.
"""

import asyncio
import itertools
import logging
import math
import sys
import time
import tracemalloc
from contextlib import contextmanager

import pytest

from consent_middleware import Consent
from consent_middleware.asgi import ConsentMiddleware
from consent_middleware.pages.origin import path_of_this_host

SMALL, LARGE = 8 * 1024, 64 * 1024
MOST_TIMES = 12
WORTH_COMPARING = 0.002
PEAK_WORTH_COMPARING = 1024 * 1024
MOST_SECONDS = 0.030
FAR_TOO_LONG = 0.2

HTML = [("Accept", "text/html")]
SAME_ORIGIN = [("Sec-Fetch-Site", "same-origin")]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """What is logged costs what the handlers cost."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def policies(make_policy, registry_text):
    """One that gates and expires all it can, and one that takes reports."""
    text = registry_text.replace('name = "Example Ads"', 'name = "Example Ads"\nhosts = ["*.ads.example"]')
    text += '\n[purposes.device]\n[consent]\nundeclared_request = "expire"\n[gating]\nmode = "{}"\n'
    return {mode: make_policy(text.replace("{}", mode)) for mode in ("enforce", "report")}


@pytest.fixture(scope="module")
def refusal(policies, now):
    choice = Consent(decided_at=now, version=2, refused_purposes=["measurement"])
    return policies["enforce"].consent_cookie(choice, now).partition(";")[0]


def filled(text, size):
    return (text * (size // len(text) + 1))[:size]


def numbered(form, size):
    pieces, length = [], 0
    while length < size:
        pieces.append(form.format(len(pieces)))
        length += len(pieces[-1])
    return "".join(pieces)[:size]


@contextmanager
def untraced():
    """What measures coverage costs several times what is measured."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


@untraced()
def best(run, enough=0.0):
    """The least CPU time of five runs in seconds, of fewer once one took no more than `enough` or far too long."""
    least = math.inf
    for _ in range(5):
        start = time.thread_time()
        run()
        least = min(least, time.thread_time() - start)
        if least <= enough or least > FAR_TOO_LONG:
            break
    return least


@untraced()
def peak(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_linear(runs, *, is_request=True):
    """`runs` takes a number of octets and gives something to run, of that size."""
    small, large = runs(SMALL), runs(LARGE)
    seconds = best(large, WORTH_COMPARING)
    for _ in range(3):
        allowed = max(WORTH_COMPARING, MOST_TIMES * best(small) if seconds > WORTH_COMPARING else 0)
        most = min(allowed, MOST_SECONDS) if is_request else allowed
        if seconds <= most:
            break
        seconds = min(seconds, best(large, most))
    assert seconds <= most, f"{seconds * 1000:.1f} ms, where an eighth of it allows {most * 1000:.1f} ms"
    octets = peak(large)
    assert octets < PEAK_WORTH_COMPARING or octets <= MOST_TIMES * peak(small)


@pytest.fixture
def linear(exchanges, policies, refusal):
    """Asserts it of exchanges that `made(size)` gives the arguments of; `{refusal}` in a cookie is one."""

    def check(made, mode="enforce", **options):
        def runs(size):
            request = {"policy": policies[mode], **made(size)}
            request["cookie"] = request.get("cookie", "_ga=1; {refusal}").replace("{refusal}", refusal)
            return lambda: exchanges.run(**request)

        assert_linear(runs, **options)

    return check


@pytest.mark.parametrize("piece", ["/", "/a", "%/", ";/", "\xe9", "//"])
@pytest.mark.parametrize("refused", ["{refusal}; ", ""])
def test_paths(linear, piece, refused):
    linear(lambda size: {"path": "/" + filled(piece, size), "cookie": f"{refused}_ga=1", "fields": HTML})


@pytest.mark.parametrize("piece", ["a.", "a", ".", ":", "[", "1."])
def test_hosts(linear, piece):
    linear(lambda size: {"fields": [*HTML, ("Host", filled(piece, size))]})


COOKIES = [
    *(
        "_ga_{}=1; ",
        ";",
        "a{}=; ",
        "{};",
        "=;",
        "__Host-consent=a; ",
        "ads_id=1; ",
        " ",
        "\t;",
        "a{},",
        '"',
        "=",
    ),
    *(
        "__Host-consent=A.{:0>43}; ",
        "__Host-_ga_{}=1; ",
        "_ga_{:x>60}=1; ",
        "_ga_{:x>490}=1; ",
        "session={}; ",
    ),
]


@pytest.mark.parametrize("form", COOKIES)
def test_cookies(linear, form):
    linear(lambda size: {"cookie": "{refusal}; " + numbered(form, size), "fields": HTML})


@pytest.mark.parametrize(
    "name", ["Consent-Token", "Sec-GPC", "DNT", "Sec-Fetch-Site", "Sec-Fetch-Dest", "Accept"]
)
@pytest.mark.parametrize("piece", ["a", "a,", " ", "1,", "a b;", '\\"'])
def test_fields_of_any_request(linear, name, piece):
    linear(lambda size: {"fields": [(name, f"x{filled(piece, size)}!")]})


READ_BY_PAGES = [
    *("Accept", "Accept-Language", "Content-Type", "Origin", "Referer", "If-None-Match", "If-Modified-Since"),
    *("Range", "X-Forwarded-Proto", "Sec-Purpose", "User-Agent", "Authorization"),
]
PAGES = [("GET", "/consent/"), ("GET", "/consent/banner.js"), ("POST", "/consent/")]


@pytest.mark.parametrize("name", READ_BY_PAGES)
@pytest.mark.parametrize(
    "piece", ["a", "a,", " ", "en;q=0.1,", "a b;", "a;b=c;", '\\"', '"a" , ', "text/html,"]
)
def test_fields_of_the_pages(policies, both_doors, name, piece):
    def runs(size):
        fields = [(name, f"x{filled(piece, size)}!")]

        def run():
            for method, path in PAGES:
                both_doors[0].run(method=method, path=path, fields=fields, policy=policies["enforce"])

        return run

    assert_linear(runs, is_request=False)
    large, tiny = runs(LARGE), runs(8)
    assert best(large, MOST_SECONDS) <= MOST_SECONDS + best(tiny, math.inf)


@pytest.mark.parametrize("piece", ["a&", "a=b&", "%25", "next=/a&", ";", "lang=fr&", "+"])
def test_queries(policies, both_doors, piece):
    def runs(size):
        path = f"/consent/?{filled(piece, size)}"
        return lambda: both_doors[0].run(path=path, policy=policies["enforce"])

    assert_linear(runs)


FORM, JSON = "application/x-www-form-urlencoded", "application/json"
BODIES = [
    *(
        (FORM, "choice=reject-all&", piece, "")
        for piece in ("a&", "purpose=a&", "a=%25&", "%25", "next=/%25&", "+")
    ),
    (FORM, "choice=reject-all&next=/%", "25", ""),
    (JSON, '{"choice":"reject-all","next":"/%', "25", '"}'),
    (JSON, '{"choice":"reject-all","vendors":{', '"v":true,', '"v":true}}'),
    (JSON, "", "[", ""),
    ("multipart/form-data; boundary=a", "", "--a\r\n", ""),
]


@pytest.mark.parametrize(("kind", "start", "piece", "end"), BODIES)
def test_bodies(both_doors, policies, kind, start, piece, end):
    def runs(size):
        room = max(0, size - len(start + end)) // len(piece)
        body = (start + piece * room + end).encode()
        fields = [*SAME_ORIGIN, ("Content-Type", kind)]
        request = {"method": "POST", "path": "/consent/", "fields": fields, "policy": policies["enforce"]}
        return lambda: both_doors[0].run(body=body, **request)

    assert_linear(runs)


def test_path_of_this_host_is_decoded_no_deeper_than_it_matters():
    """However often a path is encoded, it is looked at a few times and then refused."""
    assert path_of_this_host("/a%2520b") == "/a%2520b"
    assert path_of_this_host("/%" + "25" * 20 + "61") is None
    assert best(lambda: path_of_this_host("/%" + "25" * 1000)) < 0.01


APP = [
    "Cache-Control",
    "Vary",
    "Expires",
    "Date",
    "Content-Type",
    "Link",
    "Content-Security-Policy",
    "Accept-CH",
]
APP += [
    "Content-Security-Policy-Report-Only",
    "Permissions-Policy",
    "NEL",
    "Report-To",
    "Reporting-Endpoints",
]
APP += ["Speculation-Rules", "CDN-Cache-Control", "Surrogate-Control", "Location", "X-Other"]
VALUES = [
    *(
        ("", "a", " b"),
        ("a", " ", "!"),
        ("", ",", ""),
        ("img-src", " a", ""),
        ("img-src ", "a.", ""),
        ("", '"', ""),
    ),
    *(
        ('a="', '\\"', ""),
        ("", "<", ""),
        ("", "<https://a.b>; rel=preload,", ""),
        ("<a>", "; a", ""),
        ("", "[", ""),
    ),
    *(
        ("<https://", "a.", ">; rel=preload"),
        ("<a>;", " ", ""),
        ("", '{"group":"a"},', "{}"),
        ("a=1", ", b=1", ""),
    ),
    *(('{"group":"a","endpoints":[', '{"url":"https://x.a.b/"},', "{}]}"), ("a", "(", ")"), ("", "a=b,", "")),
    *(("", "a;b ", ""), ("", "text/a+xml", ""), ("", "1:1:1 ", ""), ("a", "\t,", "="), ("", ' "a', "")),
]


# What another field's code reads needs fewer shapes.
READ_ALIKE = {"Content-Security-Policy-Report-Only", "CDN-Cache-Control", "Surrogate-Control"}


@pytest.mark.parametrize("name", APP)
def test_what_an_app_sends(both_doors, policies, refusal, name):
    for start, piece, end in VALUES[:: 4 if name in READ_ALIKE else 1]:

        def runs(size, start=start, piece=piece, end=end):
            headers = [(name, start + filled(piece, size) + end)]
            request = {"cookie": f"_ga=1; {refusal}", "fields": HTML, "policy": policies["enforce"]}
            return lambda: both_doors[0].run(headers, **request)

        assert_linear(runs, is_request=False)


LINES = [
    "a=;",
    "_ga=1; Max-Age=1",
    "session=1; Path=/",
    "session=1 ",
    'session="',
    "session=x",
    "lang=1; a=b",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("door", [0, 1])
def test_a_cookie_of_an_app(both_doors, policies, door, line):
    def runs(size):
        headers = [("Set-Cookie", line[:-1] + filled(line[-7:], size))]
        return lambda: both_doors[door].run(headers, policy=policies["enforce"])

    assert_linear(runs, is_request=False)


def test_lifetimes_in_turn(both_doors, policies):
    def runs(size):
        line = "session=1" + filled("; max-age", size // 2) + filled("; expires", size // 2)
        return lambda: both_doors[0].run_lines(line, policy=policies["enforce"])

    assert_linear(runs, is_request=False)


@pytest.mark.parametrize(
    ("form", "path"),
    [
        *((form, "/") for form in ("session={}", "_ga_{}=; Max-Age=0", "remember={}; Max-Age={}", "_ga={}")),
        ("_ga={}", "/" + "a/" * 1000),
    ],
)
def test_many_cookies_of_an_app(both_doors, policies, refusal, form, path):
    numbers = itertools.count()  # never the same twice: what is remembered would hide what is not

    def runs(size):
        def run():
            lines = [form.format(number, number) for number in itertools.islice(numbers, size // 30)]
            both_doors[0].run_lines(*lines, **request)

        return run

    request = {"cookie": f"_ga=1; {refusal}", "fields": HTML, "policy": policies["enforce"], "path": path}
    assert_linear(runs, is_request=False)


def test_many_fields(both_doors, policies):
    def runs(size):
        fields = [("x", "a" * 8)] * (size // 12)
        return lambda: both_doors[1].run(path="/consent/", fields=fields, policy=policies["enforce"])

    assert_linear(runs)


def test_a_body_in_many_parts(policies):
    """Octet by octet a body costs what its messages cost."""

    def runs(size):
        scope = {"type": "http", "method": "POST", "path": "/consent/", "scheme": "https", "headers": []}

        async def nothing(*args):
            raise AssertionError("a page is not the app's")

        async def once():
            left = iter(range(size, -1, -1))

            async def receive():
                return {"type": "http.request", "body": b"a", "more_body": next(left) > 0}

            async def send(message):
                pass

            await ConsentMiddleware(nothing, policies["enforce"])(scope, receive, send)

        return lambda: asyncio.run(once())

    assert_linear(runs, is_request=False)


REPORTS = [
    '{{"type":"csp-violation","body":{{"blockedURL":"https://h{}.x/","effectiveDirective":"img-src"}}}},',
    '{{"type":"csp-violation","body":{{}}}},',
    "[",
]


@pytest.mark.parametrize("form", REPORTS)
def test_reports(both_doors, policies, form):
    def runs(size):
        body = f"[{numbered(form, size).rpartition(',{')[0]}]".encode()
        fields = [("Content-Type", "application/reports+json")]
        request = {
            "method": "POST",
            "path": "/consent/report",
            "fields": fields,
            "policy": policies["report"],
        }
        return lambda: both_doors[0].run(body=body, **request)

    assert_linear(runs)


@pytest.mark.parametrize("address", ["a.", "a", "a-", "%"])
def test_addresses_in_reports(both_doors, policies, address):
    def runs(size):
        url = f"https://{filled(address, max(0, size - 100))}!"
        body = f'{{"csp-report":{{"blocked-uri":"{url}","effective-directive":"img-src"}}}}'.encode()
        fields = [("Content-Type", "application/csp-report")]
        request = {
            "method": "POST",
            "path": "/consent/report",
            "fields": fields,
            "policy": policies["report"],
        }
        return lambda: both_doors[0].run(body=body, **request)

    assert_linear(runs)
