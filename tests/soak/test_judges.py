"""Engines as judges: whatever an app emits, none of them stores what the visitor did not agree to.

A small run of what `run.py` does at length. Engines that the machine lacks are skipped; under `CI` those
that its image has must be there.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from engines import ENGINES, Chromium, CookieJar, Curl, Engine, Libsoup, Stored, ToughCookie, Unavailable
from grammar import DECLARED, Grammar, soup
from hypothesis import given, settings
from run import from_hypothesis
from verdict import Court, Outcome, Product, Visitor, misdeed, months_after, rule_of, visitors

SEED = 2026
LINES = 1200


def must_be_there(engine: type[Engine]) -> bool:
    return bool(os.environ.get("CI")) and (
        engine in {Chromium, Curl} or (engine is ToughCookie and shutil.which("npm") is not None)
    )


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def engine(request) -> Iterator[Engine]:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(request.param())
        except Unavailable as reason:
            if must_be_there(request.param):
                pytest.fail(f"{request.param.name} is missing: {reason}")
            pytest.skip(f"{request.param.name} is missing: {reason}")
        yield opened


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    # It logs what it drops, which is nearly all that it is given here.
    log = logging.getLogger("consent_middleware")
    before = log.level
    log.setLevel(logging.ERROR)
    yield Product()
    log.setLevel(before)


@pytest.fixture(scope="module")
def lines():
    """The same lines for every engine: one in five from hypothesis, the others from the grammar."""
    print(f"seed {SEED}")
    now = datetime.now(UTC)
    grammar = Grammar(SEED, now)
    return [*from_hypothesis(LINES // 5, SEED, now), *(grammar.line() for _ in range(LINES * 4 // 5))]


def unfiltered(visitor, lines, now):
    return [Outcome((line,), kept=True) for line in lines]


def test_no_engine_stores_what_is_not_allowed(engine, product, lines):
    """Whatever the shape of the line, nothing without consent and nothing past its limit is stored."""
    violations = Court([product.by_wsgi], [engine]).judge(lines, datetime.now(UTC))
    violations = [violation for violation in violations if violation.engine == engine.name]
    assert not violations, "\n".join(map(str, violations[:10]))


def test_engine_sees_a_broken_promise(engine):
    """Without a middleware the judge finds cookies without consent and cookies that outlive the limit."""
    now = datetime.now(UTC)
    grammar = Grammar(SEED, now)
    violations = Court([unfiltered], [engine]).judge([grammar.line() for _ in range(300)], now)
    assert {violation.kind for violation in violations} == {"stored without consent", "outlives the limit"}
    assert {violation.visitor for violation in violations} == {visitor.name for visitor in visitors(now)}


def test_engine_stores_what_it_is_given(engine):
    """Each line is judged by itself, and a plain one is stored as it says: the judge is not blind."""
    now = datetime.now(UTC).timestamp()
    lines = [
        "_ga=1; Path=/; Max-Age=3600",
        "_ga=2; Secure; Domain=shop.localhost",
        "x=; Max-Age=0",
        "y=3",
    ] * 40
    jars = engine.stored(lines)
    expected = [[("_ga", "1")], [("_ga", "2")], [], [("y", "3")]] * 40
    # tough-cookie answers twice, for its strict and its loose mode.
    assert [sorted({(c.name, c.value) for c in jar}) for jar in jars] == expected
    assert all(abs(c.expires - now - 3600) < 30 for jar in jars[::4] for c in jar)
    assert all(c.expires is None for jar in jars[1::4] for c in jar)


def test_doors_agree_and_a_kept_line_is_identical(product):
    """WSGI and ASGI let the same octets out, and a line that is kept is the line that came."""
    now = datetime.now(UTC)
    grammar = Grammar(SEED + 1, now)
    court = Court([product.by_wsgi, product.by_asgi], [])
    violations = court.judge([grammar.line() for _ in range(LINES // 2)], now)
    assert not violations, "\n".join(map(str, violations[:10]))


def test_lines_of_known_frameworks_fare_as_the_registry_says(product):
    """What well-known frameworks write is kept, shortened or dropped as is plain from the registry."""
    now = datetime.now(UTC)
    grammar = Grammar(SEED + 2, now)
    violations = [*Court([product.by_wsgi], []).lost([grammar.well_formed() for _ in range(LINES // 2)], now)]
    assert not violations, "\n".join(map(str, violations[:10]))


@settings(max_examples=150, deadline=None)
@given(line=soup(datetime.now(UTC)))
def test_no_line_gets_past(product, line):
    """The same by hypothesis, which finds the shortest line that breaks a promise."""
    violations = Court([product.by_wsgi, product.by_asgi], [CookieJar()]).judge([line], datetime.now(UTC))
    assert not violations, str(violations[0])


class TestVerdict:
    """The judges' own book of rules is right."""

    now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("name", "rule"),
        [("_ga", "_ga"), ("_ga_1", "_ga_*"), ("_ga_", "_ga_*"), ("_gat", None), ("_GA", None), ("", None),
         ("ab_1_x", "ab_*_x"), ("ab_x", None), ("_theme", "*_theme"),
         ("caf\xe9", None)],
    )  # fmt: skip
    def test_names_fall_under_their_rule(self, name, rule):
        """Names are told apart octet by octet."""
        found = rule_of(name)
        assert (found["name"] if found else None) == rule

    def test_every_name_of_the_generator_is_declared(self):
        """The generator's declared names are those of the registry."""
        assert all(rule_of(name) for name in DECLARED)

    def test_thirteen_months_end_with_the_month(self):
        """31 January and 13 months is the last of February, by the calendar."""
        assert months_after(self.now, 13) == datetime(2027, 2, 28, 12, tzinfo=UTC)
        assert months_after(self.now, -5) == datetime(2025, 8, 31, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("who", "cookie", "expected"),
        [(0, Stored("_ga", "1", None), "stored without consent"),
         (0, Stored("", "_ga=1", None), "stored without consent"),
         (0, Stored("", "_pk_id.1=1", None), None),
         (0, Stored("session", "1", None), None),
         (0, Stored("session", "1", 1.0), "outlives the limit"),
         (0, Stored("PHPSESSID", "1", datetime(2027, 2, 28, 12, tzinfo=UTC).timestamp()), None),
         (0, Stored("PHPSESSID", "1", datetime(2027, 2, 28, 12, 0, 5, tzinfo=UTC).timestamp()),
         "outlives the limit"),
         (1, Stored("_gid", "1", None), "stored without consent"),
         (1, Stored("_pk_id.1", "1", None), "stored without consent"),
         (1, Stored("_ga_1", "1", None), None),
         (2, Stored("fr", "1", datetime(2026, 9, 30, 12, tzinfo=UTC).timestamp()), None),
         (2, Stored("fr", "1", datetime(2026, 9, 30, 12, 0, 5, tzinfo=UTC).timestamp()),
         "outlives the limit"),
         (2, Stored("undeclared", "1", None), "stored without consent")],
    )  # fmt: skip
    def test_store_is_held_against_the_choice(self, who: int, cookie, expected):
        """Consent by rule; limits by rule, basis and choice; a nameless cookie is what it comes back as."""
        visitor: Visitor = visitors(self.now)[who]
        assert misdeed(cookie, visitor, self.now, late=2.0) == expected


def test_libsoup_reads_the_last_lifetime():
    """The judge that stands for WebKitGTK differs from the others where WebKitGTK does."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(Libsoup())
        except Unavailable as reason:
            pytest.skip(str(reason))
        ((cookie,),) = engine.stored(["a=b; Max-Age=60; Expires=Tue, 19 Jan 2038 03:14:08 GMT"])
    assert cookie.expires == datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC).timestamp()
