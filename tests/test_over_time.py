"""What happens later: leftovers, withdrawal, exempt measurement, cookies set behind our back, caches."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consent_middleware import Consent, get_consent
from consent_middleware.core.cache_control import is_shared
from consent_middleware.core.set_cookie import read_set_cookie
from consent_middleware.pages.offer import make_offer

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
GONE = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
SAME_SITE = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Dest", "document")]
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def withdraw(target):
    get_consent(target).withdraw()


def deletions(answer, name=None):
    lines = [line for line in answer.cookies() if GONE in line]
    return [line for line in lines if name is None or line.partition("=")[0] == name]


def own(answer):
    return [line for line in answer.cookies() if line.startswith("__Host-consent=")]


@pytest.fixture
def fresh(make_policy):
    """A policy that remembers nothing of other tests."""
    return make_policy()


@pytest.fixture
def declared(make_policy, registry_text):
    """The same with declared places."""
    return make_policy(
        registry_text
        + """
[[cookies]]
name = "placed"
purpose = "analytics"
domain = ".example.com"
path = ["/shop", "/"]
[[cookies]]
name = "host"
purpose = "analytics"
path = "/deep"
[[cookies]]
name = "chips"
purpose = "social"
domain = "www.example.com"
partitioned = true
"""
    )


def test_a_leftover_is_hidden_and_expired(exchanges, fresh, visitors):
    """The first request that shows a refused cookie ends it, at the likely places, and the app sees none of it."""
    answer = exchanges.run(cookie=f"session=1; _ga=2; {visitors['none']}", policy=fresh, fields=SAME_SITE)
    assert answer.seen["cookie"] == f"session=1; {visitors['none']}"
    lines = deletions(answer)
    assert lines[0] == f"_ga=; {GONE}; Path=/; Secure; SameSite=Lax"
    assert lines[1] == f"_ga=; {GONE}; Path=/; Domain=example.com; Secure; SameSite=Lax"
    assert f"_ga=; {GONE}; Path=/; Secure; SameSite=Lax; Partitioned" in lines
    assert len(lines) == len(answer.cookies()) <= 12
    assert answer.get("cache-control") == "private, no-cache, max-age=0"


def test_declared_places_are_tried_first(exchanges, declared, visitors):
    """Where the registry says where a cookie lives, every answer goes there first, then to guessed places."""
    request = {"cookie": f"placed=2; {visitors['none']}", "policy": declared}
    for _ in range(50):
        lines = deletions(exchanges.run(**request))
        assert lines[:2] == [
            f"placed=; {GONE}; Path=/shop; Domain=example.com; Secure; SameSite=Lax",
            f"placed=; {GONE}; Path=/; Domain=example.com; Secure; SameSite=Lax",
        ]
        assert f"placed=; {GONE}; Path=/; Secure; SameSite=Lax" in lines[2:]


def test_a_domain_without_a_dot_is_both(exchanges, declared, visitors):
    """A domain that is the host itself may be host-only or not; partitioned cookies say so."""
    lines = deletions(exchanges.run(cookie=f"chips=2; {visitors['none']}", policy=declared))
    assert lines[:2] == [
        f"chips=; {GONE}; Path=/; Secure; SameSite=Lax; Partitioned",
        f"chips=; {GONE}; Path=/; Domain=www.example.com; Secure; SameSite=Lax; Partitioned",
    ]


def test_where_a_cookie_lives_is_learnt(exchanges, fresh, visitors):
    """The app's own line tells where a cookie has to be deleted, default path included."""
    lines = ("_ga=1; Domain=.Example.com; Path=/shop", "share=1")
    exchanges.run_lines(*lines, cookie=visitors["all"], policy=fresh, path="/a/b")
    answer = exchanges.run(cookie=f"_ga=1; share=1; {visitors['none']}", policy=fresh)
    assert deletions(answer)[:2] == [
        f"_ga=; {GONE}; Path=/shop; Domain=example.com; Secure; SameSite=Lax",
        f"share=; {GONE}; Path=/a; Secure; SameSite=Lax",
    ]


def test_where_a_cookie_of_a_long_line_lives_is_learnt(exchanges, fresh, visitors):
    """However long the attributes of a line are, its place is learnt if that is short."""
    exchanges.run_lines(f"_ga=1; Path=/shop; {'x' * 500}", cookie=visitors["all"], policy=fresh)
    answer = exchanges.run(cookie=f"_ga=1; {visitors['none']}", policy=fresh)
    assert deletions(answer)[0] == f"_ga=; {GONE}; Path=/shop; Secure; SameSite=Lax"


def test_where_a_cookie_lives_below_each_mount_is_learnt(exchanges, fresh, visitors):
    """The same line on the same path is another place below another mount."""
    for mount in ("/one", "/two"):
        exchanges.run_lines("_ga=1", cookie=visitors["all"], policy=fresh, path="/a/b", mount=mount)
    answer = exchanges.run(cookie=f"_ga=1; {visitors['none']}", policy=fresh)
    assert deletions(answer)[:2] == [
        f"_ga=; {GONE}; Path=/two/a; Secure; SameSite=Lax",
        f"_ga=; {GONE}; Path=/one/a; Secure; SameSite=Lax",
    ]


def test_where_a_hook_puts_a_cookie_is_learnt(exchanges, make_policy, visitors):
    """What left counts, not what the app said before the site's hook moved it."""

    def move(decision, target):
        return replace(decision, after=decision.before.replace("/app", "/shop"))

    policy = make_policy(on_decision=move)
    exchanges.run_lines("_ga=1; Path=/app", cookie=visitors["all"], policy=policy)
    answer = exchanges.run(cookie=f"_ga=1; {visitors['none']}", policy=policy)
    told = "".join(deletions(answer))
    assert "Path=/shop" in told
    assert "Path=/app" not in told


def test_what_is_learnt_is_bounded(exchanges, fresh, visitors):
    """However many places and names an app uses, few are remembered: four of one name, and the names seen last."""
    for start in range(0, 3000, 100):
        lines = [
            line.format(number)
            for number in range(start, start + 100)
            for line in ("_ga=1; Path=/p/{}", "_ga_{0}=1; Path=/p/{0}")
        ]
        exchanges.run_lines(*lines, cookie=visitors["all"], policy=fresh)

    def told(name):
        lines = deletions(exchanges.run(cookie=f"{name}=1; {visitors['none']}", policy=fresh))
        assert lines
        return {line.partition("Path=")[2].partition(";")[0] for line in lines if "Path=/p/" in line}

    assert len(told("_ga")) == 4
    assert told("_ga_2999") == {"/p/2999"}
    assert told("_ga_0") == set()


@pytest.mark.parametrize(
    ("fields", "cookie", "ends"),
    [
        ([("Sec-Fetch-Site", "cross-site")], "", False),
        ([("Sec-Fetch-Site", "cross-site"), ("Accept", "text/html")], "", False),
        ([], "", False),
        ([("Accept", "image/*")], "", False),
        ([("Sec-Fetch-Site", "same-origin")], "", True),
        ([("Sec-Fetch-Site", "same-site")], "", True),
        ([("Sec-Fetch-Site", "none")], "", True),
        ([("Accept", "text/html,*/*")], "", True),
        ([("Sec-Fetch-Site", "cross-site")], "none", True),
        ([("Sec-Fetch-Site", "cross-site")], "ended", True),
        ([("Sec-Fetch-Site", "cross-site")], "forged", False),
    ],
)
def test_hands_off_what_may_be_cross_site(exchanges, fresh, visitors, fields, cookie, ends):
    """A granted SameSite=None cookie survives where the Lax consent cookie is not sent; it is hidden all the same."""
    sent = f"_ga=1; promo=2; stats=3; {visitors[cookie]}" if cookie else "_ga=1; promo=2; stats=3"
    answer = exchanges.run(cookie=sent, fields=fields, policy=fresh)
    assert bool(deletions(answer)) is ends
    assert bool(fresh.observations.undeclared()) is ends
    assert "_ga" not in answer.seen["cookie"]
    assert bool(own(answer)) is (ends and not cookie)


def test_a_post_without_metadata_is_not_same_site(exchanges, fresh):
    """An old browser's cross-site POST looks like any other."""
    assert not deletions(
        exchanges.run(cookie="_ga=1", method="POST", fields=[("Accept", "text/html")], policy=fresh)
    )


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ([("Sec-Fetch-Dest", "image")], []),
        ([("Sec-Fetch-Dest", "script")], [("ETag", '"1"')]),
        ([], [("Cache-Control", "public, max-age=60")]),
        ([], [("Cache-Control", "max-age=60")]),
        ([], [("Cache-Control", "s-maxage=60, max-age=0")]),
        ([], [("Expires", "Wed, 09 Jun 2032 10:18:14 GMT")]),
        ([], [("Surrogate-Control", "max-age=60")]),
        ([], [("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-cache")]),
        ([], [("X-Accel-Expires", "60")]),
    ],
)
def test_files_and_shared_pages_keep_their_headers(exchanges, fresh, visitors, fields, headers):
    """What a cache may hold for everybody leaves byte for byte, whatever the request carried."""
    cookie = f"_ga=1; promo=2; stats=3; {visitors['none']}"
    kept = [("content-type", "text/html"), *((name.lower(), value) for name, value in headers)]
    answer = exchanges.run(headers, cookie=cookie, fields=fields, policy=fresh)
    assert answer.headers == kept


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Cache-Control", "no-cache")],
        [("Cache-Control", "private, max-age=60")],
        [("Cache-Control", "max-age=0")],
        [("X-Accel-Expires", "0")],
        [("Expires", "0")],
    ],
)
@pytest.mark.parametrize("status", [200, 302, 304, 404, 500])
def test_pages_of_any_status_expire(exchanges, fresh, visitors, headers, status):
    """Redirects, errors and validations are answers like any other."""
    answer = exchanges.run(headers, cookie=f"_ga=1; {visitors['none']}", status=status, policy=fresh)
    assert deletions(answer)
    assert "private" in answer.get("cache-control")


def test_the_budget(exchanges, fresh, visitors):
    """Many leftovers never make more than 12 lines or 1.5 KiB per answer, and each gets its turn."""
    names = [f"_ga_{number:>040}" for number in range(30)]
    left = set(names)
    for _ in range(4):
        cookie = "; ".join([f"{name}=1" for name in sorted(left)] + [visitors["none"]])
        answer = exchanges.run(cookie=cookie, policy=fresh, path="/")
        assert len(answer.cookies()) <= 12
        assert sum(map(len, answer.cookies())) <= 1536
        left -= {line.partition("=")[0] for line in deletions(answer)}
    assert not left


def ticking(make_policy, *text):
    """A policy whose clock goes on by a minute when it is told to."""
    moment = [NOW]
    policy = make_policy(*text, clock=lambda: moment[0])
    return policy, lambda: moment.append(moment.pop() + timedelta(minutes=1))


@pytest.mark.parametrize("visitor", ["new", "none"])
def test_nobody_is_given_up(exchanges, fresh, visitors, visitor):
    """However often a cookie came, of whomever: the next visitor who has it is told to delete it like the first."""
    cookie = f"_ga=1; {visitors[visitor]}" if visitors[visitor] else "_ga=1"
    request = {"cookie": cookie, "fields": [*SAME_SITE, ("User-Agent", "the same")], "policy": fresh}
    first = deletions(exchanges.run(**request))
    assert first
    assert all(deletions(exchanges.run(**request)) == first for _ in range(100))


def everywhere(names, path):
    """What tells each of these cookies to go, wherever a request for a page two levels deep could find it."""
    first, second = path.split("/")[1:]
    return {
        f"{name}=; {GONE}; Path={place}{domain}; Secure; SameSite=Lax{partitioned}"
        for name in names
        for domain in ("", "; Domain=example.com", "; Domain=www.example.com")
        for place in ("/", f"/{first}", f"/{first}/", f"/{first}/{second}")
        for partitioned in ("", "; Partitioned")
    }


@pytest.mark.parametrize("count", [1, 3, 5, 13, 30])
def test_every_place_gets_its_turn(exchanges, make_policy, visitors, count):
    """Guessed places take turns by the minute, so that a stubborn cookie is told to go at each that it can have."""
    names = [f"_ga_{number}" for number in range(count)]
    policy, tick = ticking(make_policy)
    cookie = "; ".join([*(f"{name}=1" for name in names), visitors["none"]])
    left = everywhere(names, "/a/b")
    for _ in range(60 + 12 * count):
        left -= set(deletions(exchanges.run(cookie=cookie, policy=policy, path="/a/b")))
        tick()
    assert not left


@pytest.mark.parametrize("minute", range(4))
def test_the_likely_places_are_told_at_once(exchanges, make_policy, visitors, minute):
    """Whatever the minute, one answer ends a cookie of the whole site, and one of its first minutes ends five."""
    policy, tick = ticking(make_policy)
    for _ in range(minute):
        tick()
    answer = exchanges.run(cookie=f"_ga=1; {visitors['none']}", policy=policy)
    assert deletions(answer)[:2] == [
        f"_ga=; {GONE}; Path=/; Secure; SameSite=Lax",
        f"_ga=; {GONE}; Path=/; Domain=example.com; Secure; SameSite=Lax",
    ]
    told = set()
    for _ in range(2):
        cookie = "; ".join(f"_ga_{number}=1" for number in range(4))
        told |= set(deletions(exchanges.run(cookie=f"{cookie}; {visitors['none']}", policy=policy)))
        tick()
    assert {f"_ga_{number}=; {GONE}; Path=/; Secure; SameSite=Lax" for number in range(4)} <= told


@pytest.mark.parametrize("name", ["__Host-x", "__Secure-x", "__Http-x", "__host-http-x"])
def test_prefixes(exchanges, make_policy, registry_text, visitors, name):
    """A deletion has what its name demands; over http there is none, since browsers take none."""
    policy = make_policy(registry_text + f'\n[[cookies]]\nname = "{name}"\npurpose = "analytics"\n')
    lines = deletions(exchanges.run(cookie=f"{name}=1; {visitors['none']}", policy=policy))
    assert lines
    assert all(read_set_cookie(line).flaw is None for line in lines)
    plain = visitors["none"].removeprefix("__Host-")
    assert not deletions(exchanges.run(cookie=f"{name}=1; {plain}", policy=policy, secure=False))


def test_plain_http(exchanges, fresh, visitors):
    """Over http no line says Secure, and no partition can be reached."""
    plain = visitors["none"].removeprefix("__Host-")
    lines = deletions(exchanges.run(cookie=f"_ga=1; {plain}", policy=fresh, secure=False, path="/a"))
    assert lines[0] == f"_ga=; {GONE}; Path=/; SameSite=Lax"
    assert not [line for line in lines if "Secure" in line or "Partitioned" in line]


def test_a_nameless_cookie_goes_nameless(exchanges, fresh, visitors):
    """A lone token that the app would take for a cookie of that name is deleted as what it is."""
    lines = deletions(exchanges.run(cookie=f"_ga; {visitors['none']}", policy=fresh))
    assert lines[0] == f"_ga; {GONE}; Path=/; Secure; SameSite=Lax"


def test_odd_paths_stay_out(exchanges, make_policy, visitors):
    """Paths come percent-encoded and with the mount, as the browser has them; none can break out."""
    told = []
    policy, tick = ticking(make_policy)
    for _ in range(60):
        told += deletions(
            exchanges.run(
                cookie=f"_ga=1; {visitors['none']}", policy=policy, path="/caf\xe9;a=b/x y\x7f/", mount="/app"
            )
        )
        tick()
    paths = {read_set_cookie(line).attributes.path for line in told}
    assert {"/", "/app", "/app/"} <= paths
    assert all(re.fullmatch(r"[!-:<-~]*", path) for path in paths)


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:80", "", "a..b", "x" * 300, "EXAMPLE.com."]
)
def test_odd_hosts(exchanges, make_policy, visitors, host):
    """Any Host field is answered; addresses and single labels have no parents."""
    policy, hosts = make_policy(), []
    for name in ("host", "Host"):
        answer = exchanges.run(cookie=f"_ga=1; {visitors['none']}", policy=policy, fields=[(name, host)])
        hosts += [read_set_cookie(line).attributes.domain for line in deletions(answer)]
    assert answer.status == 200
    assert not {"1", "0.1", "0.0.1", "localhost", "]"} & set(hosts)


def test_undeclared_cookies_are_counted(exchanges, fresh, visitors, caplog):
    """Undeclared names are counted, told once, with where they were first seen; they stay by default."""
    for path in ("/first?q=1", "/second"):
        cookie = f"promo=SECRET; {visitors['all']}; SECRET; =SECRET"
        answer = exchanges.run(cookie=cookie, policy=fresh, path=path)
        assert answer.seen["cookie"].startswith("promo")
        assert not deletions(answer)
    (seen,) = fresh.observations.undeclared()
    assert (seen.name, seen.count, seen.path, seen.first) == ("promo", 2, "/first", NOW)
    assert caplog.text.count("undeclared cookie 'promo'") == 1
    assert "SECRET" not in caplog.text


def test_what_is_observed_is_bounded(exchanges, fresh):
    """Strangers can make up names without end: a thousand are kept, by their first hundred characters."""
    for number in range(1100):
        exchanges.run(cookie=f"{f'x{number}' * 50}=1", fields=SAME_SITE, policy=fresh)
    assert len(fresh.observations.undeclared()) == 1000
    assert max(len(seen.name) for seen in fresh.observations.undeclared()) == 100


def test_undeclared_request_expire(exchanges, make_policy, registry_text, visitors):
    """A site may have undeclared cookies hidden and expired; `hide` alone leaves them in the browser."""
    policy = make_policy(registry_text + '\n[consent]\nundeclared_request = "expire"\n')
    answer = exchanges.run(cookie=f"promo=1; session=2; {visitors['all']}", policy=policy)
    assert answer.seen["cookie"] == f"session=2; {visitors['all']}"
    assert deletions(answer) == answer.cookies() == deletions(answer, "promo")
    hiding = make_policy(registry_text + '\n[consent]\nundeclared_request = "hide"\n')
    assert not exchanges.run(cookie=f"promo=1; {visitors['all']}", policy=hiding).cookies()


def test_no_clash_with_what_the_answer_sets(exchanges, make_policy, registry_text, visitors):
    """Deletions leave before a cookie of that name, and never for its own place."""
    policy = make_policy(registry_text + '\n[consent]\nunknown = "keep"\nundeclared_request = "expire"\n')
    headers = [("Set-Cookie", "promo=new; Path=/; Domain=example.com"), ("X-Last", "1")]
    answer = exchanges.run(headers, cookie=f"promo=1; {visitors['all']}", policy=policy)
    *lines, last = answer.cookies()
    assert last == "promo=new; Path=/; Domain=example.com"
    assert f"promo=; {GONE}; Path=/; Secure; SameSite=Lax" in lines
    assert f"promo=; {GONE}; Path=/; Domain=example.com; Secure; SameSite=Lax" not in lines


def test_a_deletion_by_script_is_none_of_ours(exchanges, make_policy, registry_text, visitors):
    """What a script makes of another field cannot delete what it cannot see: our own deletion leaves as well."""
    policy = make_policy(registry_text + '\n[consent]\nset_cookie_headers = ["X-Set-Cookie"]\n')
    line = f"_ga=; {GONE}; Path=/; Secure; SameSite=Lax"
    cookie = f"_ga=1; {visitors['none']}"
    answer = exchanges.run([("X-Set-Cookie", line)], cookie=cookie, policy=policy)
    assert answer.get("x-set-cookie") == line
    assert line in answer.cookies()
    assert line not in exchanges.run([("Set-Cookie", line)], cookie=cookie, policy=policy).cookies()[1:]


def test_a_withdrawal_works_on_its_answer(exchanges, declared, visitors):
    """What came is expired with the answer that confirms it, and so is every exact name at its declared places."""
    cookie = f"session=1; _ga_X=2; ads_id=3; {visitors['all']}"
    answer = exchanges.run(
        method="POST", fields=SAME_SITE, path="/leave", cookie=cookie, policy=declared, on_request=withdraw
    )
    assert len(own(answer)) == 1
    assert deletions(answer, "_ga_X")
    assert deletions(answer, "ads_id")
    assert deletions(answer, "placed") == [
        f"placed=; {GONE}; Path=/shop; Domain=example.com; Secure; SameSite=None",
        f"placed=; {GONE}; Path=/; Domain=example.com; Secure; SameSite=None",
    ]
    assert deletions(answer, "host") == [f"host=; {GONE}; Path=/deep; Secure; SameSite=None"]
    assert deletions(answer, "chips")
    assert not deletions(answer, "session")
    assert octets(answer.cookies()) <= 3072


def octets(lines):
    """What Set-Cookie lines take of a header."""
    return sum(len(f"Set-Cookie: {line}\r\n") for line in lines)


@pytest.mark.parametrize("came", [3, 20])
@pytest.mark.parametrize("refused", [0, 60, 200])
@pytest.mark.parametrize("places", ["", 'domain = ".example.com"'])
def test_an_answer_to_a_choice_fits(exchanges, make_policy, registry_text, came, refused, places):
    """Our cookie and the deletions share 3 KiB, whatever was chosen; what came with the request goes first."""
    rules = (f'[[cookies]]\nname = "p{n:03}"\npurpose = "social"\n{places}\n' for n in range(220))
    policy = make_policy(registry_text + "\n" + "".join(rules))
    names = [f"p{number:03}" for number in range(219, 219 - came, -1)]
    full = Consent(decided_at=NOW, version=2, purposes=["social"], id="x")
    cookie = (
        f"{'; '.join(f'{name}=1' for name in names)}; {policy.consent_cookie(full, NOW).partition(';')[0]}"
    )
    fields = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")]
    offer = make_offer(policy, "en", "preferences")
    refusing = "".join(f"&refuse_cookie=p{219 - number:03}" for number in range(refused))
    body = f"choice=save&offer={offer}&purpose=analytics{refusing}".encode()
    answer = exchanges.run(
        method="POST", path="/consent/", cookie=cookie, fields=fields, body=body, policy=policy
    )
    assert len(own(answer)) == 1
    assert octets(answer.cookies()) <= 3072
    told = [line.partition("=")[0] for line in deletions(answer)]
    assert told[:came] == names[: len(told)]
    assert len(told) >= came or octets(answer.cookies()) > 3072 - 120, "only for want of room"


def test_a_measurement_cookie_counts(exchanges, make_policy, registry_text):
    """Where our cookie leaves without a choice, it has the same room as one that is chosen."""
    policy = make_policy(registry_text)
    cookie = "; ".join(f"_ga_{number:>040}=1" for number in range(30))
    answer = exchanges.run_lines("stats=1", cookie=cookie, fields=SAME_SITE, policy=policy)
    assert len(own(answer)) == 1
    assert octets(answer.cookies()) <= 3072


def test_an_apps_grant_withdraws_nothing(exchanges, declared, visitors):
    """Adding a purpose expires nothing that is not there."""
    answer = exchanges.run(
        method="POST",
        fields=SAME_SITE,
        cookie=visitors["some"],
        policy=declared,
        on_request=lambda t: get_consent(t).grant("social"),
    )
    assert answer.cookies() == own(answer)


def test_consent_ends(exchanges, make_policy, visitors):
    """After its lifetime a choice is asked for again, and its cookies are hidden and expired."""
    later = make_policy(clock=lambda: NOW + timedelta(days=260))

    def asked(target):
        assert not get_consent(target).decided

    answer = exchanges.run(cookie=f"_ga=1; {visitors['all']}", policy=later, on_request=asked)
    assert deletions(answer, "_ga")
    assert answer.seen["cookie"] == visitors["all"]
    gone = exchanges.run(cookie="_ga=1", policy=later, fields=SAME_SITE)
    assert deletions(gone, "_ga")


def test_a_script_made_leftover_of_a_signal(exchanges, fresh, visitors):
    """What a signal refuses is expired too."""
    answer = exchanges.run(
        cookie=f"ads_id=1; _ga=2; {visitors['all']}", fields=[("Sec-GPC", "1")], policy=fresh
    )
    assert deletions(answer, "ads_id")
    assert not deletions(answer, "_ga")


def test_observing(exchanges, make_policy, registry_text, visitors):
    """Nothing is expired where nothing is enforced."""
    policy = make_policy(registry_text + '\n[consent]\nmode = "observe"\nundeclared_request = "expire"\n')
    answer = exchanges.run(cookie=f"_ga=1; promo=2; stats=3; {visitors['none']}", policy=policy)
    assert not answer.cookies()


# Exempt measurement.


def token_of(answer):
    (line,) = own(answer)
    return line.partition(";")[0]


def consent_of(policy, cookie, now=NOW):
    return policy.read_consent(cookie.partition("=")[2], now)


def seconds(line, now=NOW):
    return read_set_cookie(line).attributes.life(now).intended


def test_measurement_is_dated(exchanges, fresh):
    """The first such cookie brings the day with it: no choice, no id, the same for all who came that day."""
    answer = exchanges.run_lines("stats=1; Max-Age=63072000", fields=SAME_SITE, policy=fresh)
    cookie = token_of(answer)
    note = consent_of(fresh, cookie)
    day = datetime(2026, 11, 23, tzinfo=UTC)
    assert (note.measured_since, note.decided_at, note.id, note.purposes) == (day, day, None, ())
    assert answer.get("cache-control").startswith("private")

    def asked(target):
        consent = get_consent(target)
        assert not consent.decided
        assert consent.allows("measurement")
        assert not consent.allows("analytics")

    later = exchanges.run_lines("stats=1", cookie=f"stats=1; {cookie}", policy=fresh, on_request=asked)
    assert later.cookies() == ["stats=1"]
    assert later.seen["cookie"] == f"stats=1; {cookie}"


@pytest.mark.parametrize("days", [1, 100, 390])
def test_visits_do_not_prolong_measurement(exchanges, fresh, make_policy, days):
    """Thirteen months from the first day, whenever the cookie is set again."""
    cookie = token_of(exchanges.run_lines("stats=1", fields=SAME_SITE, policy=fresh))
    later = NOW + timedelta(days=days)
    policy = make_policy(clock=lambda: later)
    (line,) = exchanges.run_lines(
        "stats=1; Max-Age=63072000", cookie=f"stats=1; {cookie}", policy=policy
    ).cookies()
    assert later + timedelta(seconds=seconds(line, later)) == datetime(2027, 12, 23, tzinfo=UTC)


def test_unknown_age_begins_anew(exchanges, fresh, visitors):
    """A measurement cookie of unknown age is hidden and deleted; what is set then counts from today."""
    answer = exchanges.run(cookie="stats=old; session=1", fields=SAME_SITE, policy=fresh)
    assert answer.seen["cookie"] == "session=1"
    assert deletions(answer, "stats")
    assert consent_of(fresh, token_of(answer)).measured_since == datetime(2026, 11, 23, tzinfo=UTC)
    assert answer.cookies()[-1:] == own(answer), "the date must not come before the deletions"


def test_a_period_ends(exchanges, fresh, make_policy):
    """After 13 months the cookie goes and a new period may begin, which knows nothing of the first."""
    choice = Consent(
        decided_at=NOW, version=2, purposes=["analytics"], id="x", measured_since=NOW - timedelta(days=390)
    )
    cookie = fresh.consent_cookie(choice, NOW).partition(";")[0]
    assert exchanges.visible(f"stats=1; {cookie}", policy=fresh) == f"stats=1; {cookie}"
    later = NOW + timedelta(days=30)
    policy = make_policy(clock=lambda: later)
    answer = exchanges.run_lines("stats=new; Max-Age=60", cookie=f"stats=1; {cookie}", policy=policy)
    assert answer.seen["cookie"] == cookie
    moved = consent_of(policy, token_of(answer), later)
    assert moved.measured_since == datetime(2026, 12, 23, tzinfo=UTC)
    assert (moved.decided_at, moved.purposes, moved.id) == (NOW, ("analytics",), "x")
    assert "stats=new; Max-Age=60" in answer.cookies()
    assert f"stats=; {GONE}; Path=/; Secure; SameSite=Lax" not in answer.cookies()


def test_a_choice_keeps_the_date(exchanges, fresh):
    """A grant and a re-signing keep the date of the measurement; a withdrawal ends it, and is dated to the day."""
    first = token_of(exchanges.run_lines("stats=1", fields=SAME_SITE, policy=fresh))
    day = datetime(2026, 11, 23, tzinfo=UTC)
    granted = exchanges.run(
        method="POST",
        fields=SAME_SITE,
        cookie=first,
        policy=fresh,
        on_request=lambda t: get_consent(t).grant("analytics"),
    )
    choice = consent_of(fresh, token_of(granted))
    assert (choice.measured_since, choice.decided_at, choice.version) == (day, NOW, 2)
    answer = exchanges.run(
        method="POST",
        fields=SAME_SITE,
        cookie=f"stats=1; {token_of(granted)}",
        policy=fresh,
        on_request=withdraw,
    )
    left = consent_of(fresh, token_of(answer))
    assert (left.decided_at, left.measured_since) == (day, None)
    assert deletions(answer, "stats")


def test_dating_keeps_the_choice(exchanges, fresh):
    """A choice that is signed again for the date says what it said, and ends when it ended."""
    choice = Consent(
        decided_at=NOW - timedelta(days=100),
        version=2,
        purposes=["analytics"],
        refused_vendors=["ads"],
        id="x",
    )
    cookie = fresh.consent_cookie(choice, NOW).partition(";")[0]
    answer = exchanges.run_lines("stats=1", cookie=cookie, policy=fresh)
    (line,) = own(answer)
    dated = consent_of(fresh, line.partition(";")[0])
    assert dated.measured_since
    assert (dated.decided_at, dated.purposes, dated.refused_vendors, dated.id) == (
        choice.decided_at,
        choice.purposes,
        choice.refused_vendors,
        "x",
    )
    assert NOW + timedelta(seconds=seconds(line)) == fresh.compiled.ends(choice)


@pytest.mark.parametrize("destination", ["", "document", "empty", "script", "image", "iframe"])
@pytest.mark.parametrize("came", [None, "dateless"])
def test_only_a_page_notes_the_date(exchanges, fresh, destination, came):
    """What a page loads can be late, and must not replace a choice that was made since its request came."""
    fields = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Dest", destination)][: 2 if destination else 1]
    choice = Consent(decided_at=NOW - timedelta(days=100), version=2, purposes=["analytics"], id="x")
    cookie = came and fresh.consent_cookie(choice, NOW).partition(";")[0]
    answer = exchanges.run_lines("stats=1", cookie=cookie, fields=fields, policy=fresh)
    assert bool(own(answer)) is (destination in {"", "document"})
    assert "stats=1" in answer.cookies()


def test_a_choice_deletes_what_is_of_unknown_age(exchanges, fresh):
    """What came before the choice may be older than anybody knows."""
    answer = exchanges.run(
        method="POST",
        fields=SAME_SITE,
        cookie="stats=old",
        policy=fresh,
        on_request=lambda t: get_consent(t).grant("analytics"),
    )
    assert deletions(answer, "stats")
    assert consent_of(fresh, token_of(answer)).purposes == ("analytics",)


def test_a_doubtful_request_dates_nothing(exchanges, fresh, visitors):
    """Beside a cookie that does not verify nothing is signed anew."""
    dateless = fresh.consent_cookie(Consent(decided_at=NOW, version=2, purposes=["analytics"], id="x"), NOW)
    cookie = f"{dateless.partition(';')[0]}; {visitors['forged']}"
    answer = exchanges.run_lines("stats=1", cookie=cookie, policy=fresh)
    assert not own(answer)


# What nobody sets.


def test_cookies_that_nobody_sets_are_reported(exchanges, make_policy, visitors, caplog):
    """An allowed cookie that keeps coming for a day, and that the app never sets, is reported once."""
    moment = [NOW]
    policy = make_policy(clock=lambda: moment[0])
    for hours in (0, 23, 36, 37):
        moment[0] = NOW + timedelta(hours=hours)
        exchanges.run_lines("remember=1", cookie=f"session=1; remember=2; {visitors['all']}", policy=policy)
    assert policy.observations.unset() == ["session"]
    assert caplog.text.count("the app set none") == 1


# Properties.


@dataclass(frozen=True)
class Kept:
    """A cookie in a browser, as RFC 6265bis identifies it."""

    name: str
    domain: str
    host_only: bool
    path: str
    partitioned: bool


class Browser:
    """A store by RFC 6265bis, sections 5.7 and 5.8: an independent reading of what deletes what."""

    host = "www.example.com"

    def __init__(self, cookies):
        self.cookies = set(cookies)

    def field(self, path):
        return "; ".join(
            f"{cookie.name}=1" for cookie in sorted(self.cookies, key=repr) if self.matches(cookie.path, path)
        )

    @staticmethod
    def matches(path, requested):
        return requested == path or (
            requested.startswith(path) and (path.endswith("/") or requested[len(path)] == "/")
        )

    def receive(self, lines):
        for line in lines:
            name, _, attributes = line.partition(";")
            said = {
                key.strip().lower(): value
                for key, _, value in (piece.partition("=") for piece in attributes.split(";"))
            }
            assert said["max-age"] == "0"
            domain = said.get("domain", self.host)
            if domain in {"com", "uk"} or not f".{self.host}".endswith(f".{domain}"):
                continue
            self.cookies.discard(
                Kept(
                    name.partition("=")[0], domain, "domain" not in said, said["path"], "partitioned" in said
                )
            )


placements = st.builds(
    Kept,
    name=st.sampled_from(["_ga", "_ga_1", "_ga_2", "ads_id", "share", "session", "cart_1"]),
    domain=st.sampled_from(["www.example.com", "example.com"]),
    host_only=st.booleans(),
    path=st.sampled_from(["/", "/a", "/a/", "/a/b"]),
    partitioned=st.booleans(),
).filter(lambda cookie: cookie.domain == "www.example.com" or not cookie.host_only)
essential = {"session", "cart_1"}


@settings(relaxed, max_examples=40)
@given(st.sets(placements, max_size=12))
@example({Kept("_ga", "www.example.com", host_only=False, path="/", partitioned=True)})
def test_leftovers_go(both_doors, make_policy, visitors, cookies):
    """Promise 7: wherever a browser keeps what is refused, page views end it; what is essential stays."""
    for exchanges in both_doors:
        browser = Browser(cookies)
        names = {cookie.name for cookie in cookies} - essential
        policy, tick = ticking(make_policy)
        essentials = {cookie for cookie in cookies if cookie.name in essential}
        # Each cookie that goes gives the others more room, and a full turn of what is left to guess is enough.
        for _ in range(6 if len(names) == 1 else 120):
            if browser.cookies == essentials:
                break
            answer = exchanges.run(
                cookie=f"{browser.field('/a/b')}; {visitors['none']}", path="/a/b", policy=policy
            )
            browser.receive(answer.cookies())
            tick()
            assert len(answer.cookies()) <= 12
        assert browser.cookies == essentials


headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Cache-Control",
                "CDN-Cache-Control",
                "Surrogate-Control",
                "X-Accel-Expires",
                "Expires",
                "Vary",
                "ETag",
            ]
        ),
        st.sampled_from(
            [
                "public, max-age=60",
                "private",
                "no-store",
                "s-maxage=9",
                'private="a, b", max-age=1',
                "60",
                "*",
                "Cookie",
                "accept, COOKIE",
            ]
        ),
    ),
    max_size=3,
)
sent = st.lists(st.sampled_from(["_ga=1", "ads_id=2", "session=3", "promo=4", "stats=5"]), unique=True)
emitted = st.lists(
    st.sampled_from(["_ga=1", "ads_id=1; Max-Age=60", "session=1", "stats=1", "promo=1"]), max_size=2
)


@relaxed
@given(
    headers,
    emitted,
    sent,
    st.sampled_from(["new", "all", "some", "none", "old-version"]),
    st.sampled_from(["new", "all", "none"]),
)
def test_no_cache_replays(both_doors, make_policy, visitors, said, lines, pairs, one, other):
    """Promise 9: where two visitors' answers differ, each says that no cache may share it; else nothing changed."""
    for exchanges in both_doors:
        policy = make_policy()
        answers = []
        for visitor in (one, other):
            cookie = "; ".join([*pairs, *([visitors[visitor]] if visitors[visitor] else [])]) or None
            all_headers = [*said, *(("Set-Cookie", line) for line in lines)]
            answers.append(exchanges.run(all_headers, cookie=cookie, fields=SAME_SITE, policy=policy))
        untouched = [("content-type", "text/html"), *((name.lower(), value) for name, value in all_headers)]
        for answer in answers:
            if answer.headers == untouched:
                assert (
                    answers[0].headers == answers[1].headers
                    or not is_shared(answer.headers, NOW)
                    or "session=1" in answer.cookies()
                )
                continue
            assert re.search(r"\b(private|no-store)\b", answer.get("cache-control"))
            assert not re.search("public|s-maxage|max-age=[1-9]", answer.get("cache-control"))
            assert answer.get("vary") == "*" or "cookie" in answer.get("vary").lower()
            assert not {"cdn-cache-control", "surrogate-control", "x-accel-expires", "expires"} & {
                n for n, _ in answer.headers
            }


@relaxed
@given(headers, emitted, sent, st.sampled_from(["new", "all", "none", "ended"]))
def test_twice_is_once(both_doors, make_policy, visitors, said, lines, pairs, visitor):
    """Promise 8: an answer that was seen to already leaves as it is, deletions and dates included."""
    for exchanges in both_doors:
        policy = make_policy()
        cookie = "; ".join([*pairs, *([visitors[visitor]] if visitors[visitor] else [])]) or None
        request = {"cookie": cookie, "fields": SAME_SITE, "policy": policy}
        once = exchanges.run([*said, *(("Set-Cookie", line) for line in lines)], **request).headers[1:]
        assert sorted(exchanges.run(once, **request).headers[1:]) == sorted(once)
