"""One table of exchanges, run through WSGI and ASGI alike."""

import json
from datetime import UTC, datetime

import pytest

from consent_middleware import Action, Consent, Reason, get_consent
from consent_middleware.errors import ConsentStateError

OWN = [("Sec-Fetch-Site", "same-origin")]
TWO_YEARS = "Max-Age=63072000"
SEVEN_MONTHS_AHEAD = "Max-Age=20908800; Expires=Fri, 23 Jul 2027 12:00:00 GMT"
THIRTEEN_MONTHS_AHEAD = "Max-Age=34128000; Expires=Thu, 23 Dec 2027 12:00:00 GMT"
ONE_MINUTE = "Max-Age=60; Expires=Mon, 23 Nov 2026 12:01:00 GMT"
EPOCH = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"

# visitor, what the app sends, what leaves (None: nothing)
TABLE = [
    # Essential cookies need nothing, but obey the cap and their own lifetime.
    ("new", "session=1; Path=/; HttpOnly", "session=1; Path=/; HttpOnly"),
    ("new", " session=1; Path=/", " session=1; Path=/"),
    ("new", f"session=1; {TWO_YEARS}", f"session=1; {THIRTEEN_MONTHS_AHEAD}"),
    ("new", "session=1; Max-Age=34128000", "session=1; Max-Age=34128000"),
    ("new", "session=1; Max-Age=34128001", f"session=1; {THIRTEEN_MONTHS_AHEAD}"),
    (
        "new",
        "session=1; expires=Sat, 25 Dec 2027 12:00:00 GMT; Path=/",
        f"session=1; Path=/; {THIRTEEN_MONTHS_AHEAD}",
    ),
    (
        "new",
        "remember=1; Max-Age=31536000; Secure",
        "remember=1; Secure; Max-Age=2592000; Expires=Wed, 23 Dec 2026 12:00:00 GMT",
    ),
    ("new", "cart_9=x; Max-Age=60; Path=/", "cart_9=x; Path=/"),
    # What needs consent.
    ("new", "_ga=1", None),
    ("new", f"_ga=1; {TWO_YEARS}; Path=/", None),
    ("none", "_ga=1", None),
    ("some", "_ga=1", "_ga=1"),
    ("some", "_ga=1; Max-Age=60", "_ga=1; Max-Age=60"),
    ("some", "_ga_X=1; Path=/", "_ga_X=1; Path=/"),
    ("some", "ads_id=1", None),
    ("all", "ads_id=1", "ads_id=1"),
    ("picky", "ads_id=1", None),
    ("picky", "_ga=1", None),
    ("picky", "_ga_X=1", "_ga_X=1"),
    ("ended", "_ga=1", None),
    ("future", "_ga=1", None),
    ("forged", "_ga=1", None),
    # Purposes and vendors that came after the choice.
    ("old-version", "fresh=1", None),
    ("old-version", "late=1", None),
    ("old-version", "_ga=1", "_ga=1"),
    ("all", "fresh=1", "fresh=1"),
    ("all", "late=1", "late=1"),
    # Exempt unless objected to.
    ("new", "stats=1", "stats=1"),
    ("some", "stats=1", "stats=1"),
    ("none", "stats=1", None),
    # The end of the choice, five months after it was made.
    ("some", f"_ga=1; {TWO_YEARS}; Path=/", f"_ga=1; Path=/; {SEVEN_MONTHS_AHEAD}"),
    # Undeclared, and names that only look declared.
    ("all", "promo=1", None),
    ("all", "_GA=1", None),
    ("all", "%5Fga=1", None),
    ("all", '"_ga"=1', None),
    # Lines that no browser stores as they read.
    ("all", "_ga", None),
    ("all", "=_ga=1", None),
    ("all", "", None),
    ("all", "=", None),
    ("all", "; Path=/", None),
    ("all", "_ga=a\x01b", None),
    ("all", "_ga=1; Path=/\x7f", None),
    ("all", "_ga=" + "x" * 4094, None),
    ("all", "_ga=" + "x" * 4093, "_ga=" + "x" * 4093),
    # Names and commas.
    ("all", "_ga =1", "_ga =1"),
    ("all", "\t_ga=1", "\t_ga=1"),
    ("all", "_ga=b, ads_id=d", "_ga=b, ads_id=d"),
    # Lifetimes that engines read differently are written anew.
    ("all", "_ga=1; Max-Age=10; Max-Age=20", "_ga=1; Max-Age=20; Expires=Mon, 23 Nov 2026 12:00:20 GMT"),
    ("all", "_ga=1; max-age=+5", "_ga=1; Max-Age=5; Expires=Mon, 23 Nov 2026 12:00:05 GMT"),
    ("all", "_ga=1; max-age=+63072000; Path=/", f"_ga=1; Path=/; {SEVEN_MONTHS_AHEAD}"),
    ("all", "_ga=1; Expires=Wed, 09 Jun 20310 10:18:14 GMT", f"_ga=1; {SEVEN_MONTHS_AHEAD}"),
    ("all", "_ga=1; Expires=Wed, 09 Jun 69 10:18:14 GMT", f"_ga=1; {SEVEN_MONTHS_AHEAD}"),
    (
        "all",
        "_ga=1; Max-Age=60; Expires=Wed, 09 Jun 2032 10:18:14 GMT",
        "_ga=1; Max-Age=60; Expires=Mon, 23 Nov 2026 12:01:00 GMT",
    ),
    (
        "all",
        "_ga=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60",
        "_ga=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60",
    ),
    ("all", "_ga=1; Expires=Session; Path=/", "_ga=1; Path=/"),
    ("all", "_ga=1; Expires=0", "_ga=1"),
    ("all", "_ga=1; Max-Age=-x", "_ga=1"),
    ("all", "_ga=1; Max-Age=\xb2", "_ga=1"),
    ("all", '_ga="b; Max-Age=5"', '_ga="b'),
    ("all", "_ga=1;\xa0Max-Age=63072000", "_ga=1"),
    # What is meant is the last valid Max-Age, else the last valid Expires.
    ("all", "_ga=1; Max-Age=63072000; Max-Age=60", f"_ga=1; {ONE_MINUTE}"),
    (
        "all",
        "_ga=1; Expires=Wed, 09 Jun 2032 10:18:14 GMT; Expires=Mon, 23 Nov 2026 12:01:00 GMT",
        f"_ga=1; {ONE_MINUTE}",
    ),
    ("all", "_ga=1; Max-Age=1e9", "_ga=1"),
    ("all", '_ga=1; Max-Age="0"', "_ga=1"),
    ("all", '_ga=1; Max-Age="63072000"', "_ga=1"),
    ("all", "_ga=1; Max-Age=60;\xa0Max-Age=0", f"_ga=1; {ONE_MINUTE}"),
    ("all", "_ga=1; Max-Age=60; Expires=Wed, 09 Jun 20320 10:18:14 GMT", f"_ga=1; {ONE_MINUTE}"),
    # Repeated places.
    ("all", "_ga=1; Path=/x; Path=/", "_ga=1; Path=/"),
    ("all", "_ga=1; Domain=example.com; Domain=", "_ga=1; Domain="),
    # Unknown attributes and odd spacing stay.
    ("all", "_ga=1;;Path=/;Priority=High;x", "_ga=1;;Path=/;Priority=High;x"),
    # Deletions: as they are where the name is allowed, anew where it is not.
    ("new", "session=; Max-Age=0; Path=/", "session=; Max-Age=0; Path=/"),
    (
        "new",
        "session=; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Path=/",
        "session=; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Path=/",
    ),
    (
        "new",
        "_ga=secret; Path=/a; Domain=example.com; Max-Age=0",
        f"_ga=; {EPOCH}; Path=/a; Domain=example.com",
    ),
    ("new", "promo=; Max-Age=-1; Secure", f"promo=; {EPOCH}; Secure"),
    ("new", "_ga=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=3600", None),
    ("new", "_ga=1; Max-Age=0; Expires=Wed, 09 Jun 2032 10:18:14 GMT", f"_ga=; {EPOCH}"),
    ("new", "_ga=1; Max-Age=0; Max-Age=x; Expires=Wed, 09 Jun 2032 10:18:14 GMT", f"_ga=; {EPOCH}"),
    ("new", "session=; Max-Age=3600; Max-Age=0", f"session=; {EPOCH}"),
    ("new", "_ga=; Max-Age=3600; Max-Age=0; Path=/", f"_ga=; {EPOCH}; Path=/"),
    (
        "new",
        "_ga=; Expires=Wed, 22 Nov 2028 12:00:00 GMT; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        f"_ga=; {EPOCH}",
    ),
    ("new", "session=; Expires=Wed, 22-Nov-28 12:00:00 GMT; Max-Age=0", f"session=; {EPOCH}"),
    ("new", "_ga=; Expires=Wed, 22-Nov-28 12:00:00 GMT; Max-Age=0", f"_ga=; {EPOCH}"),
    ("new", '_ga=; Max-Age=-1; Max-Age="63072000"', f"_ga=; {EPOCH}"),
    ("new", "_ga=; Expires=Fri, 14 Oct 1066 09:00:00 GMT", f"_ga=; {EPOCH}"),
    ("new", '_ga=1; Max-Age="0"', None),
    ("new", "_ga=; Max-Age=" + "9" * 1025 + "; Expires=Thu, 01 Jan 1970 00:00:00 GMT", f"_ga=; {EPOCH}"),
    # Prefixes, in any case.
    ("new", "__host-consent=x; Secure; Path=/", None),
    ("new", "__Host-consent=forged; Secure; Path=/", None),
    ("new", "__Host-consent=; Secure; Path=/; Max-Age=0", "__Host-consent=; Secure; Path=/; Max-Age=0"),
    ("new", "consent=x; Expires=Mon, 01 Jan 0001 00:00:00 GMT", f"consent=; {EPOCH}"),
    # Attributes that the registry demands.
    ("all", "lang=fr; Path=/", "lang=fr; Secure; HttpOnly; SameSite=Lax; Path=/"),
    ("all", "lang=fr; SameSite=Strict; secure; httponly", "lang=fr; SameSite=Strict; secure; httponly"),
    ("all", "lang=fr; SameSite=None; Secure", "lang=fr; HttpOnly; SameSite=Lax; Secure"),
    # WebKitGTK reads no further than an octet that is not ASCII.
    (
        "all",
        "lang=fr; Path=/\xe9; Max-Age=60",
        "lang=fr; Secure; HttpOnly; SameSite=Lax; Path=/\xe9; Max-Age=60",
    ),
    (
        "all",
        "lang=fr; x=\xff; Secure; HttpOnly; SameSite=Strict",
        "lang=fr; Secure; HttpOnly; SameSite=Strict; x=\xff; Secure; HttpOnly",
    ),
    (
        "all",
        "lang=fr; Secure; HttpOnly; SameSite=Lax; x=\xff",
        "lang=fr; Secure; HttpOnly; SameSite=Lax; x=\xff",
    ),
]


@pytest.mark.parametrize(("visitor", "line", "leaves"), TABLE)
def test_what_leaves(exchanges, visitors, visitor, line, leaves):
    """Each line leaves, changes or stays behind as the table says, behind both doors."""
    answer = exchanges.run_lines(line, cookie=visitors[visitor])
    assert answer.cookies() == ([] if leaves is None else [leaves])
    assert answer.body == b"hello"


@pytest.mark.parametrize(("visitor", "line", "leaves"), TABLE)
def test_twice_is_once(exchanges, visitors, visitor, line, leaves):
    """What has left once passes a second time as it is."""
    del line
    if leaves is not None:
        assert exchanges.run_lines(leaves, cookie=visitors[visitor]).cookies() == [leaves]


@pytest.mark.parametrize("status", [200, 204, 301, 304, 404, 500])
def test_every_status_is_judged(exchanges, status):
    """Redirects and errors are judged like pages."""
    answer = exchanges.run_lines("_ga=1", "session=1", status=status)
    assert answer.cookies() == ["session=1"]
    assert answer.status == status


def test_order_and_other_headers_stay(exchanges):
    """Whatever is not ours to judge keeps its place and its octets."""
    headers = [
        ("X-One", "a\tb "),
        ("Set-Cookie", "session=1"),
        ("Set-Cookie", "session=2; Path=/x"),
        ("X-One", "\xff"),
    ]
    answer = exchanges.run(headers)
    assert answer.headers == [
        ("content-type", "text/html"),
        *((name.lower(), value) for name, value in headers),
    ]


@pytest.mark.parametrize("name", [" Set-Cookie", "set-cookie\t", "SET-COOKIE"])
def test_odd_spellings_of_the_name(exchanges, name):
    """Servers trim and lower names, so a padded name is judged too."""
    assert exchanges.run([(name, "_ga=1")]).headers[1:] == [
        ("cache-control", "private, no-cache, max-age=0"),
        ("vary", "Cookie, Consent-Token, Sec-GPC"),
    ]


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: _ga=1", "a\nset-cookie: _ga=1", "a\rSET-COOKIE: x=y"])
def test_smuggled_lines_stay_behind(exchanges, value):
    """A line break in another header cannot bring a cookie along."""
    assert all("_ga" not in v and "x=y" not in v for _, v in exchanges.run([("X-Other", value)]).headers)


def test_visible_cookies(exchanges, visitors):
    """The app sees what is allowed and what is undeclared, octet by octet."""
    own = visitors["some"]
    cookie = f'session=1;  _ga=2; ads_id=3;share="4"; {own}; odd thing; promo=5'
    assert exchanges.visible(cookie) == f"session=1;  _ga=2; {own}; odd thing; promo=5"
    assert exchanges.visible("_ga=1; session=1; stats=2") == "session=1; stats=2"
    assert exchanges.visible("_ga=1") is None
    assert exchanges.visible("_ga") is None
    assert exchanges.visible("\xa0_ga=1; a=b") == "a=b"
    assert exchanges.visible("\xa0_ga=1") is None


def test_signals(exchanges, visitors):
    """Global Privacy Control refuses what is sold, and nothing else."""
    gpc = [("Sec-GPC", "1")]
    assert exchanges.run_lines("ads_id=1", "_ga=1", cookie=visitors["all"], fields=gpc).cookies() == ["_ga=1"]
    for value in ("0", "true", "1;x", ""):
        answer = exchanges.run_lines("ads_id=1", cookie=visitors["all"], fields=[("Sec-GPC", value)])
        assert answer.cookies() == ["ads_id=1"]


def test_several_consent_cookies(exchanges, visitors):
    """Of several choices the most restrictive counts; one that does not verify leaves none standing."""
    both = f"{visitors['all']}; {visitors['some']}"
    assert exchanges.run_lines("_ga=1", "ads_id=1", cookie=both).cookies() == ["_ga=1"]
    for bad in ("forged", "ended", "future"):
        cookie = f"{visitors['all']}; {visitors[bad]}"
        assert exchanges.run_lines("_ga=1", "stats=1", cookie=cookie).cookies() == ["stats=1"]
    doubtful = f"{visitors['none']}; {visitors['forged']}"
    assert exchanges.run_lines("stats=1", cookie=doubtful).cookies() == [], "a refusal became a yes"


def test_consent_token_header(exchanges, visitors):
    """A native app sends its token in a field; with a cookie too, the more restrictive wins."""
    token = visitors["some"].partition("=")[2]
    fields = [("Consent-Token", token)]
    assert exchanges.run_lines("_ga=1", fields=fields).cookies() == ["_ga=1"]
    assert exchanges.run_lines("ads_id=1", "_ga=1", fields=fields, cookie=visitors["all"]).cookies() == [
        "_ga=1"
    ]
    assert (
        exchanges.run_lines("_ga=1", fields=[("Consent-Token", "x")], cookie=visitors["all"]).cookies() == []
    )


def test_plain_http(exchanges, policy, visitors):
    """Over http only the plain name is read, and only the prefixed one over https."""
    plain = visitors["some"].removeprefix("__Host-")
    assert exchanges.run_lines("_ga=1", cookie=plain, secure=False).cookies() == ["_ga=1"]
    assert exchanges.run_lines("_ga=1", cookie=plain).cookies() == []
    assert exchanges.run_lines("_ga=1", cookie=visitors["some"], secure=False).cookies() == []


def test_reading_makes_the_answer_private(exchanges, visitors):
    """An app that asks about the visitor answers for that visitor alone."""
    answer = exchanges.run(
        [("Cache-Control", "public, max-age=60"), ("CDN-Cache-Control", "max-age=60")],
        cookie=visitors["some"],
        on_request=lambda target: get_consent(target).allows("analytics"),
    )
    assert answer.get("cache-control") == "private, no-cache, max-age=0"
    assert answer.get("vary") == "Cookie, Consent-Token, Sec-GPC"
    assert answer.get("cdn-cache-control") is None


def test_a_neutral_answer_keeps_its_caching(exchanges, visitors):
    """An answer that consent cannot have changed stays as cacheable as it was."""
    headers = [
        ("Cache-Control", "public, max-age=60"),
        ("Set-Cookie", "session=1"),
        ("Surrogate-Control", "max-age=9"),
    ]
    for cookie in (None, visitors["some"]):
        answer = exchanges.run(headers, cookie=cookie)
        assert answer.headers[1:] == [(name.lower(), value) for name, value in headers]


def test_deleting_what_nobody_declared_keeps_the_caching(exchanges, visitors):
    """A deletion of an undeclared name leaves for everybody alike: it tells nothing of the visitor."""
    headers = [("Cache-Control", "public, max-age=60"), ("Set-Cookie", "promo=; Max-Age=0; Path=/")]
    left = [
        ("cache-control", "public, max-age=60"),
        ("set-cookie", "promo=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"),
    ]
    for cookie in (None, visitors["some"], visitors["none"]):
        assert exchanges.run(headers, cookie=cookie).headers[1:] == left
    assert "private" in exchanges.run([*headers, ("Set-Cookie", "_ga=; Max-Age=0")]).get("cache-control")


def test_dropping_the_last_cookie_keeps_the_answer_private(exchanges):
    """Caches take the absence of Set-Cookie for a sign that all may have the answer: it says otherwise."""
    answer = exchanges.run([("Set-Cookie", "_ga=1"), ("Cache-Control", "s-maxage=60, public")])
    assert answer.get("cache-control") == "private, no-cache, max-age=0"


def test_grant_and_withdraw(exchanges, policy, now, visitors):
    """An app's grant holds at once and leaves as a signed cookie; a withdrawal takes everything back."""

    def grant(target):
        consent = get_consent(target)
        assert not consent.allows("analytics")
        consent.grant("analytics")
        assert consent.allows("analytics")
        assert not consent.decided, "nobody was asked about the rest"

    answer = exchanges.run_lines("_ga=1", method="POST", fields=OWN, on_request=grant)
    assert answer.cookies()[0] == "_ga=1"
    own = answer.cookies()[1]
    assert own.startswith("__Host-consent=")
    assert own.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    choice = policy.read_consent(own.partition(";")[0].partition("=")[2], now)
    assert (choice.purposes, choice.decided_at) == (("analytics",), now)
    assert choice.id

    answer = exchanges.run_lines(
        "_ga=1",
        method="POST",
        fields=OWN,
        cookie=visitors["all"],
        on_request=lambda t: get_consent(t).withdraw(),
    )
    own = next(line for line in answer.cookies() if line.startswith("__Host-consent="))
    choice = policy.read_consent(own.partition(";")[0].partition("=")[2], now)
    assert (choice.purposes, choice.refused_purposes, choice.id) == ((), ("measurement",), None)
    assert not [line for line in answer.cookies() if line.startswith("_ga=1")]


def test_a_grant_adds_to_a_live_choice(exchanges, policy, now, visitors):
    """A grant by the app keeps the date of the choice, and opens nothing that nobody asked about."""

    def chosen(cookie, *purposes):
        answer = exchanges.run(
            method="POST",
            fields=OWN,
            cookie=cookie,
            on_request=lambda target: get_consent(target).grant(*purposes),
        )
        return policy.read_consent(answer.cookies()[-1].partition(";")[0].partition("=")[2], now)

    before = policy.read_consent(visitors["some"].partition("=")[2], now)
    after = chosen(visitors["some"], "social")
    assert (after.purposes, after.decided_at, after.id) == (
        ("analytics", "social"),
        before.decided_at,
        before.id,
    )
    after = chosen(visitors["old-version"], "later")
    assert "late" in after.refused_vendors
    assert "later" in after.purposes


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_choice_on_a_safe_method(exchanges, method):
    """A page view never makes a choice."""

    def grant(target):
        with pytest.raises(ConsentStateError, match=method):
            get_consent(target).grant("analytics")

    assert exchanges.run_lines("_ga=1", method=method, on_request=grant).cookies() == []


def test_unknown_purpose(exchanges):
    """A grant of a purpose that nobody declared is a clear error."""

    def grant(target):
        with pytest.raises(ConsentStateError, match="'analitics'"):
            get_consent(target).grant("analitics")

    exchanges.run(method="POST", fields=OWN, on_request=grant)


def test_request_consent_answers(exchanges, visitors):
    """The questions of the contract, for a visitor who refused one vendor and one cookie."""

    def ask(target):
        consent = get_consent(target)
        assert consent.decided
        assert consent.allows("analytics")
        assert not consent.allows("unknown")
        assert not consent.allows_vendor("ads")
        assert consent.allows_vendor("google-analytics")
        assert not consent.allows_vendor("nobody")
        assert not consent.allows_cookie("_ga")
        assert consent.allows_cookie("_ga_123")
        assert consent.allows_cookie("session")
        assert not consent.allows_cookie("promo")

    assert exchanges.run(cookie=visitors["picky"], on_request=ask).status == 200


@pytest.mark.parametrize("model", ["opt-out", "none"])
def test_law_models(exchanges, make_policy, visitors, model):
    """Until a choice is made what needs consent is allowed too; caps hold; choices and signals win."""
    policy = make_policy(model=lambda target: model)
    lines = ["_ga=1", f"ads_id=1; {TWO_YEARS}"]
    assert exchanges.run_lines(*lines, policy=policy).cookies() == [
        "_ga=1",
        f"ads_id=1; {THIRTEEN_MONTHS_AHEAD}",
    ]
    assert exchanges.run_lines("promo=1", policy=policy).cookies() == []
    assert exchanges.visible("_ga=1; ads_id=2", policy=policy) == "_ga=1; ads_id=2"
    assert exchanges.run_lines(*lines, policy=policy, fields=[("Sec-GPC", "1")]).cookies() == ["_ga=1"]
    assert exchanges.run_lines(*lines, policy=policy, cookie=visitors["none"]).cookies() == []
    assert exchanges.run_lines("_ga=1", "share=1", policy=policy, cookie=visitors["some"]).cookies() == [
        "_ga=1"
    ]
    for doubtful in ("forged", "ended", "future"):
        assert exchanges.run_lines(*lines, policy=policy, cookie=visitors[doubtful]).cookies() == [], doubtful


@pytest.mark.parametrize("answer", [RuntimeError(), "optout", None, True, ["opt-out"], b"none"])
def test_a_doubtful_law_model_is_opt_in(exchanges, make_policy, answer, caplog):
    """A site's function that raises, or returns what is no model, opens nothing, and the log says so."""

    def model(target):
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert exchanges.run_lines("_ga=1", policy=make_policy(model=model)).cookies() == []
    assert "opt-in" in caplog.text


@pytest.mark.parametrize(("model", "asks"), [("opt-in", True), ("opt-out", True), ("none", False)])
def test_the_model_of_the_registry(exchanges, make_policy, registry_text, model, asks):
    """The registry names the law model; under `none` nobody is asked."""
    policy = make_policy(registry_text + f'\n[consent]\nmodel = "{model}"\n')
    assert bool(exchanges.run_lines("_ga=1", policy=policy).cookies()) is (model != "opt-in")
    state = json.loads(exchanges.run(path="/consent/state", policy=policy).body)
    assert (state["model"], state["ask"], state["decided"]) == (model, asks, False)


def test_on_decision(exchanges, make_policy):
    """The site's hook sees every decision with its request, and may replace it; its errors are ignored."""
    seen = []

    def hook(decision, target):
        assert (
            "consent_middleware.consent" in target
            or target["REQUEST_METHOD" if "REQUEST_METHOD" in target else "method"]
        )
        seen.append(decision)
        if decision.name == "promo":
            from dataclasses import replace

            return replace(decision, action=Action.KEEP)
        if decision.name == "session":
            raise RuntimeError
        return True if decision.name == "remember" else None

    lines = ["_ga=1", "promo=1", "session=1", "remember=1"]
    answer = exchanges.run_lines(*lines, policy=make_policy(on_decision=hook))
    assert answer.cookies() == ["promo=1", "session=1", "remember=1"]
    assert [(d.name, d.action, d.reason) for d in seen] == [
        ("_ga", Action.DROP, Reason.NOT_ASKED),
        ("promo", Action.DROP, Reason.UNDECLARED),
        ("session", Action.KEEP, Reason.ESSENTIAL),
        ("remember", Action.KEEP, Reason.ESSENTIAL),
    ]
    assert (seen[0].rule.name, seen[0].before, seen[0].after) == ("_ga", "_ga=1", None)


def test_a_hook_cannot_smuggle(exchanges, make_policy):
    """What a hook writes cannot break out of its header field."""
    from dataclasses import replace

    policy = make_policy(on_decision=lambda d, t: replace(d, action=Action.KEEP, after="session=1\r\nX: y"))
    assert exchanges.run_lines("session=1", policy=policy).cookies() == []


def test_observe_changes_nothing(exchanges, make_policy, registry_text, caplog):
    """Observe mode decides and reports, and the visitor gets what the app sent."""
    policy = make_policy(registry_text + '\n[consent]\nmode = "observe"\n')
    headers = [("Set-Cookie", "_ga=1"), ("Set-Cookie", "=x"), ("Cache-Control", "public")]
    answer = exchanges.run(headers, cookie="ads_id=1", policy=policy)
    assert answer.headers[1:] == [(name.lower(), value) for name, value in headers]
    assert answer.seen["cookie"] == "ads_id=1"
    assert "'_ga' would be dropped: not-asked" in caplog.text


def test_drops_are_logged_once(exchanges, make_policy, caplog):
    """One line per name and reason, with what to add to the registry, and never the value."""
    policy = make_policy()
    for _ in range(3):
        exchanges.run_lines("promo=SECRET", "_ga=SECRET", "SECRET", "=SECRET", policy=policy)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert '[[cookies]] name = "promo", purpose = ' in caplog.text
    assert "agrees to analytics" in caplog.text
    assert "SECRET" not in caplog.text


def test_unknown_keep(exchanges, make_policy, registry_text):
    """A site may keep what it has not declared; the cap and the nameless rule hold all the same."""
    policy = make_policy(registry_text + '\n[consent]\nunknown = "keep"\n')
    answer = exchanges.run_lines("promo=1; Path=/", f"x=1; {TWO_YEARS}", "=_ga=1", "_ga=1", policy=policy)
    assert answer.cookies() == ["promo=1; Path=/", f"x=1; {THIRTEEN_MONTHS_AHEAD}"]


def test_undeclared_request_hide(exchanges, make_policy, registry_text, visitors):
    """A site may hide what it has not declared from its app."""
    policy = make_policy(registry_text + '\n[consent]\nundeclared_request = "hide"\n')
    assert exchanges.visible("promo=1; session=2", policy=policy) == "session=2"
    assert (
        exchanges.visible(f"session=2; {visitors['some']}", policy=policy) == f"session=2; {visitors['some']}"
    )


def test_cookies_in_other_headers(exchanges, make_policy, registry_text):
    """A header that a script turns into a cookie is judged as one."""
    policy = make_policy(registry_text + '\n[consent]\nset_cookie_headers = ["X-Set-Cookie"]\n')
    answer = exchanges.run([("X-Set-Cookie", "_ga=1"), ("X-Set-Cookie", "session=1")], policy=policy)
    assert answer.get("x-set-cookie") == "session=1"


def test_a_date_of_the_app(exchanges, visitors):
    """Browsers count Expires from Date, so with an odd Date the lifetime is written as seconds."""
    line = "session=1; Expires=Mon, 30 Nov 2026 12:00:00 GMT"
    for date, leaves in [
        ("Mon, 23 Nov 2026 12:00:30 GMT", line),
        ("Mon, 23 Nov 2020 12:00:00 GMT", "session=1; Max-Age=604800; Expires=Mon, 30 Nov 2026 12:00:00 GMT"),
        ("Thu, 26 Nov 2026 12:00:00 GMT", "session=1; Max-Age=345600; Expires=Fri, 27 Nov 2026 12:00:00 GMT"),
        ("garbage", "session=1; Max-Age=604800; Expires=Mon, 30 Nov 2026 12:00:00 GMT"),
    ]:
        assert exchanges.run([("Date", date), ("Set-Cookie", line)]).cookies() == [leaves]


@pytest.mark.parametrize(
    ("date", "ends", "is_within"),
    [
        # Over for Chromium and Firefox, which count from the answer's Date, and not for the others.
        ("Tue, 01 Dec 2026 12:00:00 GMT", "Mon, 23 Nov 2026 12:00:40 GMT", True),
        ("Mon, 23 Nov 2026 12:00:50 GMT", "Mon, 23 Nov 2026 12:00:40 GMT", True),
        ("Sun, 01 Jan 2034 12:00:00 GMT", "Sun, 01 Jan 2033 12:00:00 GMT", False),
        # The other way round: an app whose clock is slow.
        ("Mon, 23 Nov 2026 11:00:00 GMT", "Mon, 23 Nov 2026 11:30:00 GMT", True),
        ("Mon, 23 Nov 2020 11:00:00 GMT", "Sun, 23 Nov 2025 11:00:00 GMT", False),
    ],
)
def test_a_date_that_makes_a_deletion(exchanges, visitors, date, ends, is_within):
    """What is a deletion by one clock of two is one where the name is refused or a limit is passed.

    Otherwise it leaves as it came: no browser keeps the cookie longer than it would have, and none loses it.
    """
    line = f"; Expires={ends}; Path=/"
    deletion = f"; {EPOCH}; Path=/"
    answer = exchanges.run(
        [
            ("Date", date),
            *(("Set-Cookie", f"{name}={line}") for name in ("session", "_ga", "cart_1", "consent")),
        ]
    )
    assert answer.cookies() == [
        f"session={line if is_within else deletion}",
        f"_ga={deletion}",
        f"cart_1={deletion}",
        f"consent={deletion}",
    ]
    answer = exchanges.run([("Date", date), ("Set-Cookie", f"lang=x{line}")], cookie=visitors["all"])
    demanded = "; Secure; HttpOnly; SameSite=Lax"
    assert answer.cookies() == [f"lang=x{demanded}{line}" if is_within else f"lang={deletion}"]


def fail(*_, **__):
    raise RuntimeError


def test_a_clock_that_fails(exchanges, make_policy, caplog):
    """A site's clock that raises is logged, and the machine's time taken."""
    policy = make_policy(clock=fail)
    choice = Consent(decided_at=datetime.now(UTC), version=2, purposes=["analytics"], id="x")
    cookie = policy.consent_cookie(choice, choice.decided_at).partition(";")[0]
    answer = exchanges.run_lines("session=1", "_ga=1", "ads_id=1", cookie=cookie, policy=policy)
    assert answer.cookies() == ["session=1", "_ga=1"]
    assert "clock failed" in caplog.text


def test_a_failure_of_ours_keeps_the_page(exchanges, make_policy, caplog, monkeypatch):
    """If judging fails the cookies stay behind and the page goes on."""
    policy = make_policy()
    monkeypatch.setattr("consent_middleware.core.filtering.Filter.filter", fail)
    answer = exchanges.run([("Set-Cookie", "session=1"), ("X-One", "1")], policy=policy)
    assert (answer.status, answer.body, answer.cookies(), answer.get("x-one")) == (200, b"hello", [], "1")
    assert "could not be judged" in caplog.text


def test_a_failure_of_ours_on_the_request_keeps_the_page(exchanges, make_policy, caplog, monkeypatch):
    """If judging the request fails the app sees no cookie, and the page goes on."""
    policy = make_policy()
    monkeypatch.setattr("consent_middleware.exchange.split_cookies", fail)
    answer = exchanges.run_lines("session=1", "_ga=1", cookie="_ga=SECRET; session=2", policy=policy)
    assert (answer.status, answer.body, answer.seen["cookie"]) == (200, b"hello", None)
    assert "_ga=1" not in answer.cookies()
    assert "could not be judged" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("step", ["exchange.split_cookies", "core.filtering.Filter.filter"])
def test_a_failure_of_ours_while_observing_changes_nothing(
    exchanges, make_policy, registry_text, monkeypatch, step
):
    """A site that only observes keeps its cookies though judging fails."""
    policy = make_policy(registry_text + '\n[consent]\nmode = "observe"\n')
    monkeypatch.setattr(f"consent_middleware.{step}", fail)
    answer = exchanges.run_lines("session=1", "_ga=1", cookie="_ga=1; session=2", policy=policy)
    assert (answer.cookies(), answer.seen["cookie"]) == (["session=1", "_ga=1"], "_ga=1; session=2")
    assert answer.get("vary") is None


@pytest.mark.parametrize(
    ("field", "warns"),
    [
        (("X-Forwarded-Proto", "https"), True),
        (("X-Forwarded-Proto", "HTTPS, http"), True),
        (("X-Forwarded-Proto", " https ,http,http"), True),
        (("X-Forwarded-Proto", "wss"), True),
        (("X-Forwarded-Proto", "http, https"), False),
        (("X-Forwarded-Proto", "http"), False),
        (("Forwarded", "proto=https"), True),
        (("Forwarded", 'for="[2001:db8::1]:80";Proto="HTTPS", proto=http'), True),
        (("Forwarded", "for=192.0.2.43, for=198.51.100.17;proto=https"), True),
        (("Forwarded", "proto=http, proto=https"), False),
        (("Forwarded", 'for="x;proto=https"'), False),
    ],
)
def test_a_proxy_that_says_https(exchanges, make_policy, caplog, field, warns):
    """A proxy that speaks https with visitors, and http with us, is told of once, with what to do."""
    policy = make_policy()
    for _ in range(3):
        exchanges.run_lines("_ga=1", fields=[field], secure=False, policy=policy)
    lines = [record.getMessage() for record in caplog.records if "proxy" in record.getMessage()]
    assert len(lines) == warns
    assert all('set [consent] https = "always"' in line for line in lines)
    exchanges.run_lines("_ga=1", fields=[field], secure=True, policy=policy)
    assert len([record for record in caplog.records if "proxy" in record.getMessage()]) == warns


@pytest.mark.parametrize(
    "fields",
    [
        [("X-Forwarded-Ssl", "on")],
        [("X-Forwarded-Scheme", "https")],
        [("X-Forwarded-Protocol", "https")],
        [("X-Scheme", "https")],
        [("X-Url-Scheme", "https")],
        [("Front-End-Https", "on")],
        [("CloudFront-Forwarded-Proto", "https")],
        [("X-Forwarded-Proto", ", https")],
        [("X-Forwarded-Proto", '"https"')],
        [("Origin", "https://www.example.com")],
    ],
)
def test_what_else_tells_of_https(exchanges, make_policy, caplog, fields):
    """Whatever tells that visitors come over https while the server speaks http is warned of, once."""
    policy = make_policy()
    for _ in range(2):
        exchanges.run(secure=False, fields=fields, policy=policy)
    assert caplog.text.count('https = "always"') == 1
