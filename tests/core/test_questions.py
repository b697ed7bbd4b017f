"""The digest of what is asked: which edits of a registry give a yes another meaning."""

import pytest

from consent_middleware import Registry
from consent_middleware.core.compiled import compile_registry

REGISTRY = """
version = 3
[purposes.essential]
[purposes.preferences]
[purposes.analytics]
title = "Audience measurement"
description = "We count."
since = 1
[purposes.measurement]
title = "Own measurement"
basis = "objection"
[vendors.counter]
name = "Counter"
purposes = ["analytics"]
hosts = ["counter.example"]
[[cookies]]
name = "count"
purpose = "analytics"
vendor = "counter"
lifetime = "30 days"
description = "Counts."
[[cookies]]
name = "lang"
purpose = "preferences"
[[cookies]]
name = "session"
purpose = "essential"
"""

VENDOR = 'purposes = ["analytics"]'
MEANING = {
    "a purpose came later": ("since = 1", "since = 2"),
    "a vendor came later": (VENDOR, f"{VENDOR}\nsince = 3"),
    "a vendor serves a purpose more": (VENDOR, 'purposes = ["analytics", "preferences"]'),
    "a vendor serves another purpose": (VENDOR, 'purposes = ["preferences"]'),
    "a purpose needs consent now": ('basis = "objection"', ""),
    "a purpose needs none any more": ("since = 1", 'since = 1\nbasis = "essential"'),
    "a purpose is exempt": ("since = 1", 'since = 1\nbasis = "objection"'),
    "a purpose sells": ("since = 1", "since = 1\nsale = true"),
    "a cookie is for another purpose": ('name = "lang"\npurpose = "preferences"', 'name = "lang"\npurpose = "analytics"'),
    "a cookie is of a vendor": ('purpose = "preferences"', 'purpose = "preferences"\nvendor = "counter"'),
    "a cookie is of no vendor": ('vendor = "counter"', ""),
    "a cookie is optional now": ('name = "session"\npurpose = "essential"', 'name = "session"\npurpose = "analytics"'),
    "a cookie more": ("[[cookies]]", '[[cookies]]\nname = "more"\npurpose = "analytics"\n[[cookies]]'),
    "a cookie is a pattern": ('name = "lang"', 'name = "lang*"'),
    "a purpose more": ("[purposes.essential]", "[purposes.essential]\n[purposes.social]"),
    "a vendor more": ("[vendors.counter]", '[vendors.x]\nname = "X"\npurposes = ["analytics"]\n[vendors.counter]'),
}  # fmt: skip
NO_MEANING = {
    "another version": ("version = 3", "version = 4"),
    "a title": ("Audience measurement", "Measurement"),
    "a description": ("We count.", "We count pages."),
    "a name": ('"Counter"', '"Counter Inc."'),
    "a lifetime": ("30 days", "20 days"),
    "what a cookie is for, in words": ("Counts.", "Tells visits apart."),
    "a host": ('"counter.example"', '"www.counter.example"'),
    "an essential cookie more": ("[[cookies]]", '[[cookies]]\nname = "csrf"\npurpose = "essential"\n[[cookies]]'),
    "a vendor serves what needs no consent as well": (VENDOR, 'purposes = ["analytics", "essential"]'),
    "an essential vendor": ("[vendors.counter]", '[vendors.x]\nname = "X"\npurposes = ["essential"]\n[vendors.counter]'),
    "a purpose named twice": (VENDOR, 'purposes = ["analytics", "analytics"]'),
    "a setting": ("[purposes.essential]", '[consent]\nlifetime = "6 months"\n[purposes.essential]'),
}  # fmt: skip


def digest(text):
    return compile_registry(Registry.from_text(text)).asked_digest


@pytest.mark.parametrize("edit", MEANING)
def test_an_edit_that_changes_what_a_yes_means(edit):
    """A yes to what was shown before the edit is none to what is asked after it."""
    before, after = MEANING[edit]
    assert before in REGISTRY
    assert digest(REGISTRY.replace(before, after, 1)) != digest(REGISTRY)


@pytest.mark.parametrize("edit", NO_MEANING)
def test_an_edit_that_changes_no_meaning(edit):
    """A mended wording, or what nobody decides about, makes no answer void."""
    before, after = NO_MEANING[edit]
    assert before in REGISTRY
    assert digest(REGISTRY.replace(before, after, 1)) == digest(REGISTRY)


def test_the_order_of_a_registry_does_not_matter():
    """The same questions in another order are the same."""
    head, *tables = REGISTRY.split("[[cookies]]")
    assert digest("[[cookies]]".join([head, *reversed(tables)])) == digest(REGISTRY)
