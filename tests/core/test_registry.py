"""Which rule a cookie's name falls under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.core.registry import CookieRule, LocalizedText, Registry


def registry(*names):
    return Registry(purposes={}, cookies=tuple(CookieRule(name=name, purpose="analytics") for name in names))


def classified(rules, name):
    rule = rules.classify(name)
    return rule and rule.name


@pytest.mark.parametrize(
    ("names", "cookie", "expected"),
    [
        (["_ga", "_ga*", "*"], "_ga", "_ga"),
        (["_ga", "_ga*", "*"], "_gab", "_ga*"),
        (["_ga", "_ga*", "*"], "x", "*"),
        (["a*", "*aa"], "aaa", "*aa"),
        (["ab*", "a*b"], "abb", "ab*"),
        (["a*b", "*ab"], "aab", "a*b"),
        (["a*a"], "a", None),
        (["a*a"], "aa", "a*a"),
        (["_ga_*"], "_ga_", "_ga_*"),
        (["*_id"], "_id", "*_id"),
        (["abc*"], "ab", None),
        (["session"], "Session", None),
        (["session*"], "SESSION1", None),
        ([], "a", None),
        (["a"], "", None),
        (["*"], "", "*"),
    ],
)
def test_precedence(names, cookie, expected):
    """Exact beats patterns; then more literal characters, then the longer prefix; case counts."""
    assert classified(registry(*names), cookie) == expected
    assert classified(registry(*reversed(names)), cookie) == expected


def test_names_are_compared_octet_by_octet():
    """Names that look alike are others."""
    rules = registry("_ga", "%5Fid")
    assert [classified(rules, name) for name in ("_ga", "_GA", "%5Fga", "_id", "%5fid")] == [
        "_ga",
        None,
        None,
        None,
        None,
    ]


def covers(pattern, name):
    prefix, star, suffix = pattern.partition("*")
    if not star:
        return name == pattern
    return name.startswith(prefix) and name.endswith(suffix) and len(name) >= len(prefix) + len(suffix)


def reference(names, name):
    """The rule of precedence as it is written, one pattern after the other."""
    fitting = [pattern for pattern in names if covers(pattern, name)]
    if name in fitting:
        return name
    order = [(len(pattern), len(pattern.partition("*")[0]), pattern) for pattern in fitting]
    return max(order)[2] if order else None


LETTERS = st.text("ab_", max_size=4)
NAMES = st.one_of(LETTERS.filter(bool), st.builds("{}*{}".format, LETTERS, LETTERS))


@given(st.lists(NAMES, unique=True, max_size=12), st.lists(LETTERS, min_size=1, max_size=6))
def test_classification_is_what_the_slow_reference_says(names, cookies):
    """However the rules are stored, the answer is that of the definition."""
    rules = registry(*names)
    for cookie in cookies:
        assert classified(rules, cookie) == reference(names, cookie)


class Counting(str):
    """A name that counts how often a piece of it is looked up."""

    __slots__ = ("looked_up",)

    def __new__(cls, text):
        name = super().__new__(cls, text)
        name.looked_up = 0
        return name

    def __getitem__(self, key):
        self.looked_up += 1
        return super().__getitem__(key)

    def __hash__(self):
        self.looked_up += 1
        return super().__hash__()

    __eq__ = str.__eq__


def of_size(size):
    shapes = ("{:06}", "p{:06}*", "q{:06}_*_x", "*_{:06}s", "q*_{:06}")
    return registry(*(shapes[number % len(shapes)].format(number) for number in range(size)))


@pytest.fixture(scope="module")
def sizes():
    return of_size(10), of_size(100_000)


def look_ups(rules, name):
    counting = Counting(name)
    rules.classify(counting)
    return counting.looked_up


@pytest.mark.parametrize(
    "name", ["000005", "p000001", "q000002_abc_x", "zz_000003s", "q_000004", "unknown", "q" * 300]
)
def test_the_number_of_look_ups_does_not_grow_with_the_rules(sizes, name):
    """A hundred thousand rules cost a request what ten cost."""
    small, large = (look_ups(rules, name) for rules in sizes)
    assert large <= small
    assert large < 20


def test_many_patterns_with_one_prefix_are_prepared():
    """Patterns that differ only behind the star are as cheap to prepare as others."""
    rules = registry(*(f"*_{number}" for number in range(50_000)))
    assert classified(rules, "a_49999") == "*_49999"


def test_registries_are_compared_by_value():
    """Two registries that say the same are the same."""
    assert registry("a", "b*") == registry("a", "b*")
    assert registry("a") != registry("b")


@pytest.mark.parametrize(
    ("text", "languages", "expected"),
    [
        (LocalizedText.of("one"), ("fr",), "one"),
        (LocalizedText.of({"en": "yes", "fr": "oui"}), ("fr", "en"), "oui"),
        (LocalizedText.of({"en": "yes", "fr": "oui"}), ("de", "fr"), "oui"),
        (LocalizedText.of({"fr": "oui"}), ("de",), "oui"),
        (LocalizedText(), ("en",), ""),
    ],
)
def test_texts_are_picked_by_language(text, languages, expected):
    """The first language that there is, else the first wording, else nothing."""
    assert text.pick(*languages) == expected
    assert bool(text) is (text != LocalizedText())
