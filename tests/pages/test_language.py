"""Which language the pages are in (RFC 4647, lookup; RFC 9110, section 12.5.4)."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.pages.language import negotiate

SITE = ["en", "fr", "de", "pt-BR", "zh-Hant", "zh"]
CASES = [
    ("", "en"),
    ("fr", "fr"),
    ("FR-ca", "fr"),
    ("fr-CA-x-a-b-c", "fr"),
    ("sv", "en"),
    ("sv, de", "de"),
    ("de;q=0.1, fr;q=0.2", "fr"),
    ("de ; q=0.9 ,fr\t;\tQ=1.000", "fr"),
    ("de;q=0.123,fr;q=0.124", "fr"),
    ("de,fr", "de"),
    # Nothing finds a variant that was not asked for.
    ("pt", "en"),
    ("pt-BR", "pt-BR"),
    ("pt-br-x", "pt-BR"),
    ("zh-Hant-TW", "zh-Hant"),
    ("zh-Hans-CN", "zh"),
    ("zh-TW", "zh"),
    # A weight of 0 refuses.
    ("fr;q=0", "en"),
    ("fr;q=0.000, de", "de"),
    ("fr-CA, fr;q=0", "en"),
    ("en;q=0", "fr"),
    ("en;q=0, fr;q=0, *", "de"),
    ("zh;q=0, zh-Hant-TW", "en"),
    ("zh;q=0, zh-Hant", "zh-Hant"),
    ("zh-Hant;q=0, zh-Hant-TW", "zh"),
    ("zh, zh-Hant;q=0", "zh"),
    ("en;q=0,fr;q=0,de;q=0,pt-BR;q=0,zh;q=0,zh-Hant;q=0", "en"),
    # Anything leaves the choice to the site, after all that is named.
    ("*", "en"),
    ("*;q=0", "en"),
    ("*;q=0, fr", "fr"),
    ("*, fr", "fr"),
    ("sv, *;q=0.5", "en"),
    ("en;q=0, *", "fr"),
    # What is no wish is passed over.
    ("fr;q=x, de;q=0.1", "de"),
    ("fr;q=2, de;q=0.1", "de"),
    ("fr;q=-1, de;q=0.1", "de"),
    ("fr;q=1.5, de;q=0.1", "de"),
    ("fr;q=0.1234, de;q=0.1", "de"),
    ("fr;q=, de;q=0.1", "de"),
    ("fr;q=inf, de;q=0.1", "de"),
    ("fr;q=nan, de;q=0.1", "de"),
    ("fr;q=\u0661, de;q=0.1", "de"),
    ("fr; q = 0.5, de;q=0.1", "de"),
    ('"fr", de;q=0.1', "de"),
    ("fr_CA, de;q=0.1", "de"),
    ("-fr, fr-, fr--CA, 1, de;q=0.1", "de"),
    (",,;q=1,\x80, de", "de"),
]


@pytest.mark.parametrize(("accepted", "language"), CASES)
def test_negotiation(accepted, language):
    assert negotiate(accepted, SITE) == language


def test_one_language_is_all_there_is():
    """A site that has one language answers in it, even to who refuses it."""
    assert negotiate("fr;q=0, de", ["fr"]) == "fr"


MEMBERS = st.builds(
    "{}{}".format,
    st.sampled_from(["en", "fr", "fr-CA", "zh-Hant-TW", "*", "sv", "x", ""]),
    st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=y"]),
)


@given(accepted=st.lists(MEMBERS).map(",".join) | st.text())
def test_any_field_has_an_answer(accepted):
    """Whatever is sent, the answer is a language of the site, and none that is refused where there is another."""
    assert negotiate(accepted, SITE) in SITE
    assert negotiate(f"fr;q=0,{accepted}", SITE) != "fr"


@pytest.mark.parametrize(
    "piece", ["x,", "fr-CA;q=0.5,", "a-", ",", ";q=1", "*;q=0,", "en-aaaaaaaa-bbbbbbbb-cccccccc,"]
)
def test_a_long_field_costs_no_more(piece):
    """Beyond what any browser sends nothing is read, so what is there neither counts nor costs."""
    long = "de," + piece * (65536 // len(piece)) + ",fr"
    tracemalloc.start()
    try:
        assert negotiate(long, SITE) == "de"
        assert tracemalloc.get_traced_memory()[1] < 512 * 1024
    finally:
        tracemalloc.stop()


def test_a_cut_makes_no_other_wish():
    """Where a field is cut, what is left of a member does not count: `fr-…` is not `fr`, no weight is lost."""
    for length in range(2040, 2056):
        padding = "x" * 8 + ","
        field = (padding * 300)[: length - 4] + ",fr;q=0,de"
        assert negotiate(field, ["en", "fr"]) == "en"


@pytest.mark.parametrize("behind", range(-12, 4))
def test_a_cut_on_the_way_in_makes_no_other_wish(exchanges, make_policy, registry_text, behind):
    """The pages cut a long field too, and only between its members: a weight that is cut off refused."""
    site = registry_text.replace("[site]", '[site]\nlanguages = ["en", "fr", "de"]')
    padding = 1024 + behind - len("de;q=0.5,")
    field = (
        "de;q=0.5,"
        + "x" * (padding % 9 - 1)
        + "," * (padding % 9 > 0)
        + "xxxxxxxx," * (padding // 9)
        + "fr;q=0,sv"
    )
    assert field.index("fr") == 1024 + behind
    answer = exchanges.run(path="/consent/", fields=[("Accept-Language", field)], policy=make_policy(site))
    assert b'<html lang="de"' in answer.body


@pytest.mark.parametrize("sign", [",", ";"])
def test_a_query_is_cut_between_its_fields(exchanges, policy, sign):
    """A long query loses whole fields: a part of an address is another address."""
    query = "next=/page" + sign + "x" * 9000
    answer = exchanges.run(path=f"/consent/?{query}", policy=policy)
    assert answer.status == 200
    assert b"/page" not in answer.body
