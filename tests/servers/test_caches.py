"""A real Varnish and a real nginx in front of a real server: two visitors with opposite choices.

The caches are set up as busy sites do it: cookies in a request are no reason to pass, and answers without a
lifetime are kept too; nginx overlooks `Set-Cookie` and `Vary`. `careless` replaces Varnish's built-in rules
for answers by the age alone, and drops `Vary`.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import count
from pathlib import Path

import pytest

from consent_middleware import Consent, ConsentPolicy, Registry, get_consent
from consent_middleware.wsgi import ConsentMiddleware

NEEDED = ("varnishd", "nginx")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
MISSING = [name for name in NEEDED if not shutil.which(name, path=PATH)]
pytestmark = pytest.mark.skipif(
    bool(MISSING) and "CI" not in os.environ, reason=f"needs {', '.join(MISSING)}"
)

REGISTRY = """
[site]
hosts = ["127.0.0.1"]
[vendors.tags]
name = "Example Tags"
hosts = ["tags.example.com"]
purposes = ["analytics"]
[[cookies]]
name = "_ga"
purpose = "analytics"
vendor = "tags"
[[cookies]]
name = "session"
purpose = "essential"
"""
VCL = """vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "%(origin)d"; }
sub vcl_recv {
    unset req.http.X-Forwarded-For;
    if (req.method == "GET" || req.method == "HEAD") { return (hash); }
}
sub vcl_backend_response {
    if (bereq.url ~ "/again" && beresp.ttl > 0s) { set beresp.ttl = 0.001s; set beresp.grace = 0s; set beresp.keep = 1h; }
    if (bereq.url ~ "careless") {
        unset beresp.http.Vary;
        if (beresp.ttl <= 0s) { set beresp.uncacheable = true; set beresp.ttl = 120s; }
        return (deliver);
    }
}
"""
NGINX = """daemon off; error_log %(folder)s/error.log; pid %(folder)s/pid; user root;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/temp;
    fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
    proxy_cache_path %(folder)s/cache keys_zone=all:1m;
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://127.0.0.1:%(origin)d;
            proxy_cache all; proxy_cache_valid any 1m; proxy_cache_methods GET HEAD;
            proxy_cache_convert_head off; proxy_cache_revalidate on;
            proxy_cache_key $request_method$request_uri;
            proxy_ignore_headers Set-Cookie Vary;
        }
    }
}
"""
GATED = REGISTRY + '[gating]\nmode = "enforce"\n'


def site():
    """The app: bare below /bare, with gating below /gated, judged anywhere else. Each answer is numbered."""
    numbers = count(1)

    def app(environ, start_response):
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"].split("&")
        status = next((word for word in query if word.isdigit()), "200")
        headers = [("X-Number", str(next(numbers))), ("ETag", '"1"'), ("Content-Type", "text/html")]
        cookie = environ.get("HTTP_COOKIE", "")
        if "static" in path:
            headers[-1] = ("Content-Type", "text/css")
        if "public" in query:
            headers.append(("Cache-Control", "public, max-age=600"))
        if "shared" in query:
            headers.append(("Surrogate-Control", "max-age=600"))
            headers.append(("X-Accel-Expires", "600"))
        if "sets" in path:
            headers.append(("Set-Cookie", f"_ga={'one' if 'session=one' in cookie else 'two'}; Path=/"))
        if "reads" in path:
            headers.append(("X-Consent", str(get_consent(environ).allows("analytics"))))
        if environ.get("HTTP_IF_NONE_MATCH") == '"1"':
            status = "304"
        start_response(f"{status} Status", headers + ([("Location", "/")] if status.startswith("30") else []))
        return [b"" if status == "304" or environ["REQUEST_METHOD"] == "HEAD" else b"body"]

    policies = [
        ConsentPolicy(Registry.from_text(text), secret_keys=["a key for tests alone"])
        for text in (REGISTRY, GATED)
    ]
    judged, gated = (ConsentMiddleware(app, policy) for policy in policies)

    def dispatch(environ, start_response):
        first = environ["PATH_INFO"].split("/")[1]
        return {"bare": app, "gated": gated}.get(first, judged)(environ, start_response)

    return dispatch, policies[0]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(command, port):
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PATH": PATH}
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
                assert process.poll() is None, process.stderr.read().decode()
        yield port
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def caches():
    """Ports of Varnish and nginx, and the policy of the site behind them."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type, message, *args):
            pass

    # Varnish gives up root to compile its rules, so it must be able to look in: not so pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="caches"))
    folder.chmod(0o755)
    application, policy = site()
    # This server keeps the order of header fields, on which nginx's reading of them depends.
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    ports = {"origin": server.port, "varnish": free_port(), "nginx": free_port()}
    (folder / "default.vcl").write_text(VCL % ports)
    (folder / "nginx.conf").write_text(NGINX % {**ports, "port": ports["nginx"], "folder": folder})
    store = ["-s", "malloc,16m", "-p", "thread_pool_min=5"]
    varnish = [
        "varnishd",
        "-F",
        "-n",
        folder / "v",
        "-a",
        f"127.0.0.1:{ports['varnish']}",
        "-f",
        folder / "default.vcl",
        *store,
    ]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(server.server_close)
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        stack.enter_context(running(varnish, ports["varnish"]))
        stack.enter_context(running(["nginx", "-c", folder / "nginx.conf", "-p", folder], ports["nginx"]))
        yield ports, policy


@pytest.fixture(params=["varnish", "nginx"])
def cache(request, caches):
    return Cache(caches[0][request.param], caches[1])


class Cache:
    """A cache as two visitors see it: one granted everything, two refused; two still has a leftover."""

    numbers = count(1)

    def __init__(self, port, policy):
        self.port = port
        now = datetime.now(UTC)

        def cookie(consent):
            return policy.consent_cookie(consent, now, secure=False).partition(";")[0]

        granted = cookie(Consent(decided_at=now, version=1, purposes=["analytics"], id="one"))
        refused = cookie(Consent(decided_at=now, version=1))
        self.cookies = {
            "one": f"session=one; {granted}",
            "two": f"session=two; _ga=old; {refused}",
            "new": "session=new",
        }

    def url(self, path):
        """Each scenario has a URL of its own: nothing of it is stored yet."""
        return f"{path}{'&' if '?' in path else '?'}n=x{next(self.numbers)}"

    def get(self, visitor, url, method="GET", **fields):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request(
            method, url, headers={"Cookie": self.cookies[visitor], "Accept": "text/html", **fields}
        )
        response = connection.getresponse()
        response.body = response.read()
        connection.close()
        return response

    def numbered(self, url, visitors, **request):
        """Which answers of the origin the visitors got, counted from the first: [0, 0, 0] is one and its hits."""
        numbers = [int(self.get(visitor, url, **request).headers["X-Number"]) for visitor in visitors]
        return [number - numbers[0] for number in numbers]


ORDERS = [("one", "two", "one", "new", "two"), ("two", "one", "two", "one"), ("new", "one", "two", "new")]
SAID = ["", "public", "shared", "public&shared", "public&shared&careless", "careless"]
STATUSES = ["200", "301", "302", "404", "410", "500"]


def own_headers(response):
    lines = response.headers.get_all("Set-Cookie", [])
    return (
        {line.partition(";")[0] for line in lines},
        response.headers["X-Consent"],
        response.headers["Content-Security-Policy"],
    )


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("path", ["/sets", "/reads", "/sets/reads", "/gated/sets"])
def test_nobody_gets_what_is_anothers(cache, path, said, status):
    """Whatever the app says about caching, each visitor gets the cookies and headers of that visitor alone."""
    for order in ORDERS:
        url = cache.url(f"{path}?{status}&{said}")
        for visitor in order:
            response = cache.get(visitor, url)
            cookies, consent, policy = own_headers(response)
            assert response.status == int(status)
            if visitor == "one":
                assert cookies == ({"_ga=one"} if "sets" in path else set())
            else:
                assert cookies <= ({"_ga="} if visitor == "two" else set())
            assert consent == (str(visitor == "one") if "reads" in path else None)
            if policy is not None:
                assert ("tags.example.com" in policy) is (visitor == "one")


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_head_and_validation(cache, said, method):
    """HEAD and conditional requests update nothing of anybody else's."""
    for path in ("/sets", "/reads", "/again/sets", "/gated/sets"):
        url = cache.url(f"{path}?{said}")
        for visitor in ("one", "two", "one", "two", "new", "one"):
            fields = {"If-None-Match": '"1"'} if visitor == "two" else {}
            response = cache.get(visitor, url, method if visitor == "one" else "GET", **fields)
            cookies, consent, _ = own_headers(response)
            assert not cookies & ({"_ga=one", "_ga=two"} if visitor != "one" else {"_ga=", "_ga=two"})
            assert consent in {None, str(visitor == "one")}


@pytest.mark.parametrize("status", ["200", "301", "404"])
@pytest.mark.parametrize("said", ["public", "shared", "public&shared", ""])
@pytest.mark.parametrize("path", ["/static.css", "/neutral"])
def test_files_and_neutral_pages_hit_as_before(cache, path, said, status):
    """What consent cannot have changed is a hit as often as without the middleware, leftovers or not."""
    if path == "/neutral" and not said:
        return
    for order in ORDERS:
        urls = [cache.url(f"{prefix}{path}?{status}&{said}") for prefix in ("/bare", "")]
        bare, judged = (cache.numbered(url, order) for url in urls)
        assert judged == bare
        if said in {"public", "public&shared"}:
            assert judged == [0] * len(order)
        if said:
            assert not cache.get("two", urls[1]).headers.get_all("Set-Cookie")


def test_a_revalidated_page_stays_neutral(caches):
    """A 304 for a visitor with leftovers updates the stored page with nothing of that visitor's."""
    cache = Cache(caches[0]["varnish"], caches[1])
    for said in ("public", ""):
        url = cache.url(f"/again/neutral?{said}")
        for visitor in ("one", "two", "one", "two", "new"):
            response = cache.get(visitor, url)
            assert response.status == 200
            assert own_headers(response)[0] <= ({"_ga="} if visitor == "two" and not said else set())


def test_bare_caches_do_mix_visitors_up(cache):
    """The set-up can fail: without the middleware the very same caches hand one visitor's cookie to another."""
    mixed = []
    for said in SAID:
        url = cache.url(f"/bare/sets?{said}")
        mixed.append(own_headers(cache.get("one", url))[0] & own_headers(cache.get("two", url))[0])
    assert {"_ga=one"} in mixed
