"""What an app chooses for its visitor, what is recorded of it, and who is told; through both doors."""

import logging
from datetime import timedelta
from itertools import product

import pytest

from consent_middleware import Consent, get_consent
from consent_middleware.errors import ConsentStateError, RecordStoreError

SAME = ("Sec-Fetch-Site", "same-origin")
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
PLACED = '\n[[cookies]]\nname = "placed"\npurpose = "analytics"\npath = "/far"\n'
CORS = '\n[consent]\ncors_origins = ["https://app.example"]\n'
GRANTS = {"analytics": "analytics", "social": "social"}
STEPS = [*GRANTS, "withdraw"]
SEQUENCES = [steps for length in (2, 3) for steps in product(STEPS, repeat=length)]
CAME = {"_ga": "analytics", "share": "social", "ads_id": "advertising"}


def act(*steps):
    """An app that chooses so, in order."""

    def choose(target):
        consent = get_consent(target)
        for step in steps:
            consent.withdraw() if step == "withdraw" else consent.grant(step)

    return choose


def own(answer):
    return [line for line in answer.cookies() if line.startswith("__Host-consent=")]


def deleted(answer):
    return {line.partition("=")[0] for line in answer.cookies() if "Max-Age=0" in line}


def kept(policy, answer):
    """The choice in the one consent cookie that leaves; None without one."""
    if not own(answer):
        return None
    [line] = own(answer)
    return policy.verify(line.partition(";")[0].partition("=")[2])


def choosing(steps, purposes):
    """Those of the steps that change anything: what is granted already is no choice."""
    seen = purposes or frozenset()
    for step in steps:
        if step not in seen:
            seen = frozenset() if step == "withdraw" else seen | {step}
            yield step


def expected(steps, failures, purposes):
    """By the rule: what holds, in order, as (step, purposes before, purposes after)."""
    failing, held, holds = iter(failures), [], True
    for step in choosing(steps, purposes):
        before = held[-1][2] if held else purposes
        if step == "withdraw":
            next(failing)
            held.append((step, before, frozenset()))
        elif holds:
            holds = not next(failing)
            if holds:
                held.append((step, before, (before or frozenset()) | {step}))
    return held


class Site:
    """A policy whose store fails at the given attempts, and what it is told."""

    def __init__(self, make_policy, text, tmp_path):
        self.told, self.recorded, self.attempts = [], [], iter(())
        self.policy = make_policy(
            text, records=f"sqlite:///{tmp_path / 'consent.db'}", on_choice=self._on_choice
        )
        self.policy.records.append = self._append

    def _append(self, event):
        if next(self.attempts):
            raise RecordStoreError("the disk is full")
        self.recorded.append(event)

    def _on_choice(self, before, after, target):
        self.told.append((before and frozenset(before.purposes), frozenset(after.purposes)))

    def begin(self, failures):
        self.told.clear()
        self.recorded.clear()
        self.attempts = iter(failures)


@pytest.fixture
def site(make_policy, registry_text, tmp_path):
    site = Site(make_policy, registry_text + PLACED, tmp_path)
    yield site
    site.policy.records.close()


@pytest.mark.parametrize("visitor", ["new", "some", "none"])
def test_what_is_recorded_holds(exchanges, site, visitors, visitor):
    """Every sequence, every failure: what holds is recorded, up to the first grant whose record fails.

    A withdrawal holds all the same, and its deletions are on the answer, whatever is granted after it.
    """
    cookie = "; ".join([*(f"{name}=1" for name in CAME), *filter(None, [visitors[visitor]])])
    start = {"new": None, "some": frozenset({"analytics"}), "none": frozenset()}[visitor]
    for steps in SEQUENCES:
        for failures in product([False, True], repeat=len(steps)):
            site.begin(failures)
            answer = exchanges.run_lines(
                *(f"{name}=2" for name in CAME),
                method="POST",
                fields=[SAME],
                cookie=cookie,
                policy=site.policy,
                on_request=act(*steps),
            )
            held = expected(steps, failures, start)
            seen = (steps, failures)
            assert site.told == [(before, after) for _, before, after in held], seen
            made = kept(site.policy, answer)
            final = held[-1][2] if held else start or frozenset()
            assert frozenset(made.purposes if made else ()) == (final if held else frozenset()), seen
            assert bool(made) == bool(held), seen
            allowed = {name for name, purpose in CAME.items() if purpose in final}
            leaving = {line.removesuffix("=2") for line in answer.cookies() if line.endswith("=2")}
            assert leaving == allowed, seen
            assert deleted(answer) >= CAME.keys() - allowed, seen
            withdrawn = any(step == "withdraw" for step, *_ in held)
            assert ("placed" in deleted(answer)) == (withdrawn and "analytics" not in final), seen


@pytest.mark.parametrize("steps", SEQUENCES)
def test_records_are_in_order(exchanges, site, visitors, steps):
    """Each choice has its record: grants share an id until a withdrawal ends it, and names what it ended."""
    site.begin([False] * 3)
    exchanges.run(
        method="POST", fields=[SAME], cookie=visitors["some"], policy=site.policy, on_request=act(*steps)
    )
    steps = [*choosing(steps, {"analytics"})]
    assert [event.action for event in site.recorded] == [
        "withdraw" if step == "withdraw" else "grant" for step in steps
    ]
    live = "some"
    for step, event in zip(steps, site.recorded, strict=True):
        if step == "withdraw":
            assert (event.consent_id, event.state) == (live, "withdrawn" if live else "refused")
            live = None
        else:
            assert event.consent_id == live or (live is None and event.consent_id not in {None, "some"})
            live = event.consent_id


def test_a_refusal_without_a_record_is_logged_whole(exchanges, site, visitors, caplog):
    """The withdrawal whose record fails is one line of the log, and the grant before it is recorded."""
    site.begin([False, True])
    answer = exchanges.run(
        method="POST",
        fields=[SAME],
        cookie=visitors["some"],
        policy=site.policy,
        on_request=act("social", "withdraw"),
    )
    assert [event.action for event in site.recorded] == ["grant"]
    assert kept(site.policy, answer).purposes == ()
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert '"action":"withdraw"' in line


# on_choice


def test_on_choice_is_told_after_the_record(exchanges, make_policy, tmp_path, visitors):
    """The record is there when the site is told, with what stood before, what stands now, and the request."""
    seen = []

    def on_choice(before, after, target):
        seen.append((before, after, target, policy.records.latest(after.id)))

    policy = make_policy(records=f"sqlite:///{tmp_path / 'consent.db'}", on_choice=on_choice)
    exchanges.run(
        method="POST", fields=[SAME], cookie=visitors["some"], policy=policy, on_request=act("social")
    )
    [(before, after, target, record)] = seen
    assert (before.id, before.purposes) == ("some", ("analytics",))
    assert after.purposes == ("analytics", "social")
    assert record.consent_id == after.id
    assert target.get("PATH_INFO", target.get("path")) == "/page"
    policy.records.close()


@pytest.mark.parametrize(
    ("choice", "cookie"),
    [("accept-all", "new"), ("reject-all", "some"), ("withdraw", "all"), ("add", "some")],
)
def test_on_choice_hears_of_the_pages(exchanges, make_policy, visitors, choice, cookie):
    """What is chosen on the pages is told as well, once."""
    from consent_middleware.pages.offer import make_offer

    seen = []
    policy = make_policy(on_choice=lambda before, after, target: seen.append((before, after)))
    body = f"choice={choice}&cookie=share&offer={make_offer(policy, 'en', 'preferences')}".encode()
    answer = exchanges.run(
        method="POST",
        path="/consent/",
        body=body,
        fields=[SAME, FORM],
        cookie=visitors[cookie],
        policy=policy,
    )
    [(before, after)] = seen
    assert (before and before.id) == (None if cookie == "new" else cookie)
    assert kept(policy, answer) == after


def test_what_on_choice_raises_is_logged_and_ignored(exchanges, make_policy, visitors, caplog):
    """A site's function that fails costs nobody the choice."""

    def broken(before, after, target):
        raise RuntimeError("secret")

    policy = make_policy(on_choice=broken)
    for steps in (["social"], ["withdraw"]):
        caplog.clear()
        answer = exchanges.run(
            method="POST", fields=[SAME], cookie=visitors["some"], policy=policy, on_request=act(*steps)
        )
        assert answer.status == 200
        assert kept(policy, answer).grants == (steps == ["social"])
        [record] = caplog.records
        assert "on_choice failed" in record.getMessage()
        assert "secret" not in record.getMessage()


def test_on_choice_does_not_hear_of_what_does_not_hold(exchanges, site):
    """A grant without its record is none."""
    site.begin([True])
    exchanges.run(method="POST", fields=[SAME], policy=site.policy, on_request=act("social"))
    assert site.told == []


# Who may choose


OWN, EVIL = "https://www.example.com", "https://evil.example"
DECIDES = [
    ([SAME, FORM], ""),
    ([SAME], ""),
    ([SAME, ("Origin", EVIL)], ""),
    ([("Sec-Fetch-Site", "cross-site")], "Sec-Fetch-Site"),
    ([("Sec-Fetch-Site", "same-site")], "Sec-Fetch-Site"),
    ([("Sec-Fetch-Site", "none")], "Sec-Fetch-Site"),
    ([("Sec-Fetch-Site", "same-origin, cross-site")], "Sec-Fetch-Site"),
    ([("Sec-Fetch-Site", "cross-site"), ("Origin", OWN), JSON], "Sec-Fetch-Site"),
    ([("Origin", OWN)], ""),
    ([("Origin", "http://www.example.com")], ""),
    ([("Origin", OWN + ":443")], ""),
    ([("Origin", OWN + ":8443")], "Origin"),
    ([("Origin", "https://sub.www.example.com")], "Origin"),
    ([("Origin", "https://example.com")], "Origin"),
    ([("Origin", EVIL), JSON], "Origin"),
    ([("Origin", "null")], "Origin"),
    ([("Origin", "https://app.example"), FORM], "Origin"),
    ([FORM], "neither Sec-Fetch-Site nor Origin"),
    ([], "neither Sec-Fetch-Site nor Origin"),
]
WITHOUT_COOKIES = [
    ([JSON], ""),
    ([("Content-Type", "Application/JSON; charset=utf-8")], ""),
    ([("Content-Type", "text/plain")], "neither Sec-Fetch-Site nor Origin"),
    ([("Content-Type", "application/jsonp")], "neither Sec-Fetch-Site nor Origin"),
    ([("Origin", "https://app.example"), JSON], ""),
    ([("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site"), JSON], ""),
]
WITH_COOKIES = [
    ([JSON], "neither Sec-Fetch-Site nor Origin"),
    ([("Origin", "https://app.example"), JSON], "Origin"),
    ([("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site"), JSON], "Sec-Fetch-Site"),
]


@pytest.mark.parametrize("step", ["social", "withdraw"])
@pytest.mark.parametrize(
    ("fields", "decides", "cookie"),
    [
        *((fields, decides, cookie) for fields, decides in DECIDES for cookie in ("new", "some", "other")),
        *((fields, decides, "new") for fields, decides in WITHOUT_COOKIES),
        *((fields, decides, cookie) for fields, decides in WITH_COOKIES for cookie in ("some", "other")),
    ],
)
def test_who_may_choose_through_the_app(
    exchanges, make_policy, registry_text, tmp_path, visitors, step, fields, decides, cookie
):
    """An app's endpoint that another site calls changes nothing and records nothing, and says which header decides."""
    policy = make_policy(registry_text + CORS, records=f"sqlite:///{tmp_path / 'consent.db'}")
    events, raised = [], []
    policy.records.append = events.append

    def choose(target):
        try:
            act(step)(target)
        except ConsentStateError as error:
            raised.append(str(error))

    answer = exchanges.run(
        method="POST",
        fields=fields,
        cookie={**visitors, "other": "a=b"}[cookie],
        policy=policy,
        on_request=choose,
    )
    assert len(raised) == bool(decides)
    assert len(events) == len(own(answer)) == (not decides)
    if decides:
        assert decides in raised[0].partition(": ")[2]
    policy.records.close()


def test_the_error_names_the_host_it_compared(exchanges, policy):
    """Behind a proxy that changes `Host` the error shows both sides."""
    with pytest.raises(ConsentStateError, match=r"Origin is 'https://shop\.example', and Host 'www\.exam"):
        exchanges.run(
            method="POST",
            fields=[("Origin", "https://shop.example")],
            policy=policy,
            on_request=act("social"),
        )


def test_a_long_header_is_cut_in_the_error(exchanges, policy):
    """The error may be logged: a stranger's field is cut."""
    with pytest.raises(ConsentStateError) as error:
        exchanges.run(
            method="POST",
            fields=[("Origin", "https://" + "a" * 9000)],
            policy=policy,
            on_request=act("social"),
        )
    assert len(str(error.value)) < 400


def test_a_grant_where_nobody_was_asked(exchanges, policy, now):
    """It names what it named, is dated to now, and the visitor is still to be asked about the rest."""
    answer = exchanges.run(method="POST", fields=[SAME], policy=policy, on_request=act("social"))
    made = kept(policy, answer)
    assert made.id
    assert made == Consent(decided_at=now, version=2, purposes=["social"], id=made.id, asked=False)


NOTHING_NEW = [
    ("new", []),
    ("new", ["essential"]),
    ("new", ["device"]),
    ("new", ["measurement"]),
    ("some", ["analytics"]),
    ("some", ["analytics", "essential", "measurement"]),
    ("all", ["social", "advertising"]),
]


@pytest.mark.parametrize(("visitor", "purposes"), NOTHING_NEW)
def test_a_grant_of_what_stands_is_no_choice(
    exchanges, make_policy, registry_text, visitors, visitor, purposes
):
    """Nothing is recorded, told or stored; the answer is private, for the visitor's state was read."""
    events, told = [], []
    policy = make_policy(registry_text, on_choice=lambda *choice: told.append(choice))
    policy.record = events.append

    def grant(target):
        consent = get_consent(target)
        before = consent.decided
        consent.grant(*purposes)
        assert consent.decided == before

    request = {"method": "POST", "fields": [SAME], "cookie": visitors[visitor], "policy": policy}
    answer = exchanges.run(on_request=grant, **request)
    assert (own(answer), events, told) == ([], [], [])
    assert "private" in answer.get("cache-control")


@pytest.mark.parametrize("visitor", ["new", "none", "some"])
def test_the_same_grant_again_is_no_choice(exchanges, make_policy, visitors, visitor):
    """Of two equal grants the first is recorded, on the same answer or the next."""
    events = []
    policy = make_policy()
    policy.record = events.append
    request = {"method": "POST", "fields": [SAME], "policy": policy, "on_request": act("social", "social")}
    first = exchanges.run(cookie=visitors[visitor], **request)
    [line] = own(first)
    again = exchanges.run(cookie=line.partition(";")[0], **request)
    assert own(again) == []
    assert [event.action for event in events] == ["grant"]


def test_a_grant_that_lifts_an_objection_is_a_choice(exchanges, make_policy, visitors):
    """A purpose that needs no consent is added where the visitor had refused it."""
    events = []
    policy = make_policy()
    policy.record = events.append
    request = {"method": "POST", "fields": [SAME], "cookie": visitors["none"], "policy": policy}
    answer = exchanges.run(on_request=act("measurement"), **request)
    assert kept(policy, answer).refused_purposes == ()
    assert len(events) == 1


@pytest.mark.parametrize("signals", [[("Sec-GPC", "1")], [("DNT", "1")], [("Sec-GPC", "1"), ("DNT", "1")]])
@pytest.mark.parametrize("door", ["app", "page"])
def test_a_yes_in_the_presence_of_a_signal_holds(exchanges, make_policy, registry_text, door, signals):
    """Who agrees with a signal present is taken at his word while it is present, and no further."""
    policy = make_policy(registry_text + '\n[consent]\ndnt = "refuse"\n')
    request = {"method": "POST", "policy": policy}
    if door == "app":
        answer = exchanges.run(fields=[SAME, *signals], on_request=act("advertising"), **request)
    else:
        answer = exchanges.run(
            path="/consent/", fields=[SAME, FORM, *signals], body=b"choice=add&vendor=ads", **request
        )
    cookie = own(answer)[0].partition(";")[0]

    def leaving(fields):
        return exchanges.run_lines(
            "ads_id=1", "stats=1", cookie=cookie, fields=fields, policy=policy
        ).cookies()

    assert [line for line in leaving(signals) if line.startswith("ads_id")] == ["ads_id=1"]
    for other in ([("Sec-GPC", "1")], [("DNT", "1")], [("Sec-GPC", "1"), ("DNT", "1")]):
        allowed = {name for name, _ in other} <= {name for name, _ in signals}
        assert ("ads_id=1" in leaving(other)) == allowed
        assert not any(line.startswith("stats") for line in leaving(other) if ("DNT", "1") in other)


SIX_MONTHS = '\n[consent]\nlifetime = "6 months"\n'


@pytest.mark.parametrize("model", ["opt-in", "opt-out", "none"])
@pytest.mark.parametrize("door", ["app", "page"])
@pytest.mark.parametrize("state", ["ended", "doubtful"])
def test_what_is_added_keeps_refusals_that_hold_longer(
    exchanges, make_policy, registry_text, visitors, now, model, door, state
):
    """A yes to one thing, after the end of a choice or beside one in doubt, undoes no refusal of another."""
    policy = make_policy(registry_text + SIX_MONTHS, model=lambda target: model)
    choice = Consent(
        decided_at=now - timedelta(days=200 if state == "ended" else 2),
        version=2,
        purposes=["analytics"],
        refused_purposes=["measurement"],
        refused_vendors=["google-analytics"],
        refused_cookies=["lang"],
        id="old",
    )
    cookie = policy.consent_cookie(choice, now).partition(";")[0]
    if state == "doubtful":
        cookie += f"; {visitors['forged']}"
    request = {"method": "POST", "cookie": cookie, "policy": policy}
    if door == "app":
        answer = exchanges.run(fields=[SAME], on_request=act("social"), **request)
    else:
        answer = exchanges.run(
            path="/consent/", fields=[SAME, FORM], body=b"choice=add&cookie=share", **request
        )
    made = kept(policy, answer)
    assert (made.refused_purposes, made.refused_vendors, made.refused_cookies) == (
        ("measurement",),
        ("google-analytics",),
        ("lang",),
    )
    assert made.id not in {None, "old"}
    lines = ["stats", "_ga", "lang", "ads_id", "late", "share"]
    cookie = own(answer)[0].partition(";")[0]
    later = exchanges.run_lines(*(f"{name}=1" for name in lines), cookie=cookie, policy=policy)
    assert [line.partition("=")[0] for line in later.cookies()] == ["share"]
