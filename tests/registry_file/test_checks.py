"""The relations that the checks of a registry file rest on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.registry_file.checks import consent_cookie_names, covers, embraces

LETTERS = st.text("ab", max_size=3)
PATTERNS = st.builds("{}*{}".format, LETTERS, LETTERS)


def fits(pattern, name):
    prefix, _, suffix = pattern.partition("*")
    return len(name) >= len(prefix + suffix) and name.startswith(prefix) and name.endswith(suffix)


@pytest.mark.parametrize(
    ("pattern", "other", "expected"),
    [
        ("_ga*", "_ga", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("_g*", "_ga_*", True),
        ("_ga_*", "_g*", False),
        ("*_csrf", "_ga_*", False),
        ("mp_*", "mp_*_mixpanel", True),
    ],
)
def test_a_pattern_embraces_what_it_always_matches(pattern, other, expected):
    """Every name of the other is one of the pattern's."""
    assert embraces(pattern, other) is expected


@given(PATTERNS, st.one_of(PATTERNS, LETTERS), LETTERS)
def test_embraced_names_are_matched(pattern, other, middle):
    """Whatever stands in the place of the other's star."""
    if embraces(pattern, other):
        assert fits(pattern, other.replace("*", middle))


@pytest.mark.parametrize(
    ("domain", "host", "expected"),
    [
        ("example.com", "example.com", True),
        (".example.com", "example.com", True),
        (".example.com", "www.example.com", True),
        ("www.example.com", "example.com", False),
        ("example.com", "notexample.com", False),
    ],
)
def test_a_domain_covers_itself_and_what_is_below(domain, host, expected):
    """As browsers match domains; a leading dot makes no difference."""
    assert covers(domain, host) is expected


@pytest.mark.parametrize("configured", ["choice", "__Host-choice", "__Secure-choice"])
def test_the_consent_cookie_has_one_name_per_prefix(configured):
    """However it is configured, it may go by all three."""
    assert consent_cookie_names(configured) == {"choice", "__Host-choice", "__Secure-choice"}
