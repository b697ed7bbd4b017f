"""The relations that the checks of a registry file rest on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.gating import Gate, Recipient
from consent_middleware.core.permissions import Grounds, permissions_on
from consent_middleware.registry_file.checks import consent_cookie_names, domain_matches, subsumes
from consent_middleware.registry_file.reading import examine_text

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
    assert subsumes(pattern, other) is expected


@given(PATTERNS, st.one_of(PATTERNS, LETTERS), LETTERS)
def test_embraced_names_are_matched(pattern, other, middle):
    """Whatever stands in the place of the other's star."""
    if subsumes(pattern, other):
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
    assert domain_matches(domain, host) is expected


@pytest.mark.parametrize("configured", ["choice", "__Host-choice", "__Secure-choice"])
def test_the_consent_cookie_has_one_name_per_prefix(configured):
    """However it is configured, it may go by all three."""
    assert consent_cookie_names(configured) == {"choice", "__Host-choice", "__Secure-choice"}


GATED = """
[site]
hosts = ["www.example.com", "[::1]"]
[gating]
mode = "{mode}"
allow = ["fonts.example.net"]
"""


def gated(partners, hosts, mode="enforce"):
    """A registry file with so many partners of so many hosts, one of them shared by all."""
    text = GATED.format(mode=mode)
    for number in range(partners):
        names = [f"static{host}.partner{number}.example.com" for host in range(hosts - 1)]
        listed = ", ".join(f'"{name}"' for name in [*names, "shared.example.net"])
        text += f'[vendors.v{number}]\nname = "V"\npurposes = ["social"]\nhosts = [{listed}]\n'
    return text


def longest(registry):
    """The policy of a visitor who allows everything, as it leaves."""
    grounds = Grounds(purposes=("social",), version=1, live=True)
    allowed = permissions_on(compile_registry(registry), grounds)
    recipient = Recipient(permissions=allowed, report_uri="/consent/report")
    leaving = Gate(registry).response_headers(200, [("Content-Type", "text/html")], recipient)
    return leaving[-1][1].partition("; report-uri")[0]


@pytest.mark.parametrize("mode", ["enforce", "report"])
@pytest.mark.parametrize(("partners", "hosts"), [(20, 3), (20, 2), (19, 2), (3, 3), (1, 1)])
def test_a_long_policy_is_suspected(partners, hosts, mode):
    """Above 2 KiB the longest policy that can leave is named, with its size and what proxies need."""
    reading = examine_text(gated(partners, hosts, mode))
    policy = longest(reading.registry)
    if len(policy) <= 2048:
        assert reading.suspicions == ()
        return
    [found] = reading.suspicions
    assert (found.line, found.key) == (5, "gating.mode")
    assert f" {len(policy):,} octets" in found.message
    assert "proxy_buffer_size" in found.hint
    assert "uwsgi_buffer_size" in found.hint


def test_the_limit_is_2_kib():
    """Host by host a policy grows, and it is suspected from the first octet above the limit."""
    for number in range(1, 60):
        reading = examine_text(gated(1, number))
        assert bool(reading.suspicions) is (len(longest(reading.registry)) > 2048)
    assert reading.suspicions


@pytest.mark.parametrize("mode", ["off", "report"])
def test_a_gate_without_hosts(mode):
    """Nothing to gate is suspected where it is to be enforced, and what reports are for elsewhere."""
    assert examine_text(GATED.format(mode=mode)).suspicions == ()
    [found] = examine_text(GATED.format(mode="enforce")).suspicions
    assert (found.line, found.key) == (5, "gating.mode")
    assert "no vendor has hosts" in found.message
    assert '"report"' in found.hint


def test_off_is_never_long():
    """Where nothing is gated no policy leaves."""
    assert examine_text(gated(20, 3, "off")).suspicions == ()


@pytest.mark.parametrize("key", ["lifetime", "refusal_lifetime", "max_lifetime"])
@pytest.mark.parametrize(
    ("period", "ok"),
    [
        ("2 days", True),
        ("48 hours", True),
        ("172800 seconds", True),
        ("1 week", True),
        ("1 month", True),
        ("47 hours", False),
        ("2879 minutes", False),
        ("172799 seconds", False),
        ("1 day", False),
        ("1 second", False),
    ],
)
def test_a_choice_lasts_two_days_at_least(key, period, ok):
    """A refusal is dated to the start of its day: under two days it could be over before it was made."""
    mistakes = examine_text(f'[consent]\n{key} = "{period}"\n').mistakes
    assert [(mistake.line, mistake.key) for mistake in mistakes] == ([] if ok else [(2, f"consent.{key}")])


CONSENT = """[site]
hosts = ["{host}"]
[consent]
{key} = "{value}"
"""


def suspected(host, key, value):
    return [found.key for found in examine_text(CONSENT.format(host=host, key=key, value=value)).suspicions]


@pytest.mark.parametrize(
    ("host", "domain", "ok"),
    [
        ("www.example.com", "example.com", True),
        ("www.example.com", ".example.com", True),
        ("www.example.com", "com", False),
        ("www.example.com", ".com", False),
        ("site.localhost", ".localhost", False),
        ("localhost", "localhost", True),
    ],
)
def test_a_domain_that_no_browser_takes(host, domain, ok):
    """A cookie for everything below a top level is stored by no browser, so that no choice would be kept."""
    assert suspected(host, "domain", domain) == ([] if ok else ["consent.domain"])


@pytest.mark.parametrize(
    ("name", "ok"),
    [
        ("__Host-consent", True),
        ("__Secure-consent", True),
        ("consent", True),
        ("__host-consent", False),
        ("__HOST-consent", False),
        ("__SECURE-consent", False),
        ("__Http-consent", False),
        ("__Host-Http-consent", True),
        ("__Secure-__Host-consent", False),
        ("__hostess", True),
    ],
)
def test_a_prefix_that_stays_over_http(name, ok):
    """Browsers take prefixes in any case, and over https alone; ours are left out over http as they are written."""
    assert suspected("www.example.com", "cookie", name) == ([] if ok else ["consent.cookie"])


@pytest.mark.parametrize(
    ("version", "ok"), [(2**31 - 1, True), (2**31, False), (20261125001, False), (10**30, False)]
)
def test_a_version_that_cannot_be_stored(version, ok):
    """A version is stored in every token and record: a larger one would make each choice fail."""
    found = [(one.line, one.key) for one in examine_text(f"version = {version}\n").mistakes]
    assert found == ([] if ok else [(1, "version")])
