"""Reading a registry file: what it becomes, and everything that is wrong with it."""

import warnings
from datetime import date

import pytest
from msgspec.structs import replace

from consent_middleware.core import registry as core
from consent_middleware.core.periods import Period
from consent_middleware.errors import ConfigurationError, RegistryError, RegistryWarning
from consent_middleware.registry_file import Registry, read_registry
from consent_middleware.registry_file.reading import examine, examine_text


def matches(finding, expected):
    whole = f"{finding.message} ({finding.hint})" if finding.hint else finding.message
    return (finding.line, finding.key) == (expected.line, expected.key) and expected.text in whole


def compared(findings, expected):
    """Findings and expectations that have no counterpart."""
    left = [finding for finding in findings if not any(matches(finding, entry) for entry in expected)]
    return left, [entry for entry in expected if not any(matches(finding, entry) for finding in findings)]


def test_every_mistake_is_found_with_its_line_and_nothing_else(bad):
    """Each bad file yields exactly the mistakes that it names itself, in the order of its lines."""
    reading = examine(bad.path)
    mistakes = reading.mistakes
    expected = bad.of("expect", "expect, reading only", "expect, syntax")
    assert compared(mistakes, expected) == ([], [])
    assert len(mistakes) == len(expected)
    assert [mistake.line for mistake in mistakes] == sorted(mistake.line for mistake in mistakes)
    assert {mistake.file for mistake in mistakes} == {str(bad.path)}
    assert compared(reading.suspicions, bad.of("warn")) == ([], [])


def test_a_bad_file_stops_the_start_with_all_mistakes_at_once(bad):
    """The error holds every mistake, and its text has a line for each."""
    with pytest.raises(RegistryError) as caught:
        read_registry(bad.path)
    assert isinstance(caught.value, ConfigurationError)
    assert caught.value.mistakes == examine(bad.path).mistakes
    assert str(caught.value).splitlines() == [str(mistake) for mistake in caught.value.mistakes]


def test_suspicions_are_warned_of_once_each(good):
    """A good file is read; each finding is one warning, and nothing else is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registry = read_registry(good.path)
    assert isinstance(registry, Registry)
    assert {warning.category for warning in caught} <= {RegistryWarning}
    assert {warning.filename for warning in caught} <= {__file__}
    reading = examine(good.path)
    assert [str(warning.message) for warning in caught] == [str(finding) for finding in reading.suspicions]
    assert compared(reading.suspicions, good.of("warn")) == ([], [])
    assert len(reading.suspicions) == len(good.of("warn"))


def test_two_readings_of_one_file_are_equal(good):
    """A registry is a value, whichever door it came through."""
    first = examine(good.path).registry
    assert first == examine(good.path).registry
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Registry.from_file(good.path) == first
        assert Registry.from_text(good.path.read_text("utf-8")) == first
    assert first != replace(first, version=first.version + 1)


def test_every_key_arrives(root):
    """What the complete file says is what the registry holds."""
    registry = read_registry(root / "tests/registry_files/good/complete.toml")
    assert registry.version == 2
    assert registry.site == core.Site(
        id="example",
        name=core.LocalizedText.of("Example Parenting"),
        hosts=("www.example.com",),
        contact=core.LocalizedText.of("privacy@example.com"),
        policy_updated=date(2026, 11, 23),
        languages=("en", "fr"),
    )
    assert registry.consent == core.ConsentSettings(
        cors_origins=("https://app.example.com", "capacitor://localhost", "http://[::1]:3000"),
        set_cookie_headers=("X-Set-Cookie",),
    )
    assert registry.purposes["analytics"] == core.Purpose(
        id="analytics",
        title=core.LocalizedText.of({"en": "Audience measurement", "fr": "Mesure d'audience"}),
        description=core.LocalizedText.of("We count page views to learn which articles help."),
        httponly=True,
        samesite="lax",
    )
    assert registry.vendors == {
        "google-analytics": core.Vendor(
            id="google-analytics",
            name=core.LocalizedText.of("Google Analytics"),
            purposes=("analytics",),
            privacy_url=core.LocalizedText.of("https://policies.google.com/privacy"),
            opt_out_url=core.LocalizedText.of(
                {
                    "en": "https://tools.google.com/dlpage/gaoptout",
                    "fr": "https://tools.google.com/dlpage/gaoptout?hl=fr",
                }
            ),
            hosts=("www.googletagmanager.com", "*.google-analytics.com"),
            google_consent=("analytics_storage",),
            since=2,
        )
    }
    assert registry.cookies[0] == core.CookieRule(
        name="_ga_*",
        purpose="analytics",
        vendor="google-analytics",
        lifetime=Period(13, 0, "13 months"),
        description=core.LocalizedText.of("Tells visits apart."),
        data=(
            core.LocalizedText.of("pages viewed"),
            core.LocalizedText.of({"en": "approximate location", "fr": "localisation approximative"}),
        ),
        domains=(".example.com",),
        paths=("/",),
        secure=True,
        httponly=False,
        samesite="none",
    )
    assert registry.cookies[1].lifetime == "session"
    assert [(rule.name, rule.preset) for rule in registry.cookies[2:]] == [("session", "flask")]
    assert registry.gating == core.Gating(mode="report", allow=("cdn.example.com", "*.example.net"))
    assert registry.records.retention == Period.parse("5 years")
    assert list(registry.purposes) == ["essential", "analytics"]


def test_an_empty_file_has_the_defaults_and_the_six_purposes():
    """Nothing needs to be written; the defaults are those of the values themselves."""
    registry = Registry.from_text("")
    assert registry.site == core.Site()
    assert registry.consent == core.ConsentSettings()
    assert registry.gating == core.Gating()
    assert registry.records == core.RecordSettings()
    assert (registry.version, registry.cookies, registry.vendors) == (1, (), {})
    assert list(registry.purposes) == [
        "essential",
        "preferences",
        "analytics",
        "social",
        "advertising",
        "device",
    ]


def test_standard_purposes_have_their_basis_and_sale():
    """Only the essential purpose needs no consent, and only advertising is refused by GPC."""
    purposes = Registry.from_text("").purposes
    assert [id for id, p in purposes.items() if p.basis is core.Basis.ESSENTIAL] == ["essential"]
    assert {p.basis for p in purposes.values()} == {core.Basis.ESSENTIAL, core.Basis.CONSENT}
    assert [id for id, purpose in purposes.items() if purpose.sale] == ["advertising"]


def test_a_standard_purpose_keeps_what_the_file_does_not_say(root):
    """Own keys win, the others stay; what is used and not named is added, the essential purpose first."""
    registry = read_registry(root / "tests/registry_files/good/own-purposes.toml")
    standard = Registry.from_text("").purposes
    assert list(registry.purposes) == ["essential", "comments", "analytics", "preferences", "advertising"]
    analytics = registry.purposes["analytics"]
    assert analytics == replace(standard["analytics"], basis=core.Basis.OBJECTION)
    assert registry.purposes["advertising"] == standard["advertising"]
    assert registry.purposes["comments"].basis is core.Basis.CONSENT


def test_a_purpose_without_a_title_is_called_by_its_id(root):
    """Visitors read something in any case; the same goes for a vendor without a name."""
    registry = examine(root / "tests/registry_files/good/suspicions.toml").registry
    assert registry.purposes["forum"].title.pick("en") == "forum"
    assert registry.vendors["nameless"].name.pick("en") == "nameless"


def test_a_vendor_has_the_purposes_of_its_cookies_unless_it_says_so(root):
    """In the order of the cookies, or of the list, each once."""
    vendors = read_registry(root / "tests/registry_files/good/own-purposes.toml").vendors
    assert vendors["measure"].purposes == ("analytics", "comments")
    assert vendors["shop"].purposes == ("advertising", "comments")


def test_an_own_rule_beats_a_presets_and_several_places_are_kept(root):
    """The preset's other rules stay."""
    registry = read_registry(root / "tests/registry_files/good/own-purposes.toml")
    rule = registry.classify("sessionid")
    assert (rule.preset, rule.lifetime, rule.domains, rule.paths) == (
        None,
        Period.parse("1 day"),
        ("www.example.com", ".example.com"),
        ("/", "/app"),
    )
    assert registry.classify("csrftoken").preset == "django"


def test_the_first_of_two_presets_wins():
    """Flask's and Starlette's session have one name."""
    text = 'presets = ["starlette", "flask", "starlette"]'
    assert [(rule.name, rule.preset) for rule in Registry.from_text(text).cookies] == [
        ("session", "starlette")
    ]


def test_lifetimes_that_are_not_written_follow_a_lower_cap(root):
    """Neither a default nor a preset promises more than the site's cap."""
    registry = read_registry(root / "tests/registry_files/good/lower-cap.toml")
    assert registry.consent.lifetime == registry.consent.max_lifetime == Period.parse("6 months")
    assert registry.consent.refusal_lifetime == Period.parse("30 days")
    assert registry.classify("remember_token").lifetime == Period.parse("6 months")


def test_the_id_of_a_site_is_its_first_host_unless_it_says_so():
    """The id is part of a signature's salt: it may not be empty where there is a host."""
    assert Registry.from_text('[site]\nhosts = ["a.example", "b.example"]').site.id == "a.example"


@pytest.mark.parametrize(
    ("octets", "line", "text"),
    [
        (b"version = 1\r\n# caf\xe9\r\n", 2, "not UTF-8"),
        (b"version = 1\r\nversoin = 2\r\n", 2, "unknown key"),
        (b"\xef\xbb\xbfversoin = 1", 1, "did you mean 'version'?"),
        (b"version = 1\nx = " + b"[" * 5000, 0, "nested too deeply"),
        (b"version = " + b"1" * 5000, 0, ""),
        (b"version = 1\n\x00", 2, "not TOML"),
    ],
)
def test_unreadable_octets_are_mistakes_not_tracebacks(tmp_path, octets, line, text):
    """Whatever the file holds, the answer is a registry error; a byte order mark and CRLF do no harm."""
    path = tmp_path / "cookies.toml"
    path.write_bytes(octets)
    with pytest.raises(RegistryError) as caught:
        Registry.from_file(path)
    (mistake,) = caught.value.mistakes
    assert mistake.line == line
    assert text in str(mistake)


def test_a_missing_file_or_a_folder_is_a_registry_error(tmp_path):
    """The message names the path and the reason, without a line."""
    for path, reason in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(RegistryError, match=reason) as caught:
            Registry.from_file(path)
        assert caught.value.mistakes[0].line == 0
        assert str(caught.value).startswith(f"{path}: cannot be read")


def test_a_text_can_be_given_a_name():
    """Messages name the file that the text came from."""
    (mistake,) = examine_text("x = 1", "shop.toml").mistakes
    assert str(mistake).startswith("shop.toml:1: x: unknown key")


def test_the_example_registry_is_clean(root):
    """The registry of the example apps has neither mistakes nor suspicions."""
    registry = read_registry(root / "examples/cookies.toml")
    assert {rule.name for rule in registry.cookies} >= {
        "session",
        "_ga",
        "_ga_*",
        "ads_id",
        "social_share",
        "lang",
    }
    assert registry.vendors["example-ads"].purposes == ("advertising",)


def test_many_rules_are_read():
    """A registry of ten thousand rules is read like a small one; its mistakes are found as well."""
    entry = '[[cookies]]\nname = "c{0}_*"\npurpose = "analytics"\nlifetime = "13 months"\n'
    text = "".join(entry.format(number) for number in range(10_000))
    assert Registry.from_text(text).classify("c9999_x").name == "c9999_*"
    with pytest.raises(RegistryError) as caught:
        Registry.from_text(text.replace('purpose = "analytics"', 'purpose = "analytic"'))
    assert [mistake.line for mistake in caught.value.mistakes] == list(range(3, 40_000, 4))
