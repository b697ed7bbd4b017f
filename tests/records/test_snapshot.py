"""Snapshots: what visitors were told, under one hash."""

import hashlib
import json

import pytest
from msgspec.structs import replace

from consent_middleware.core.periods import Period
from consent_middleware.core.registry import CookieRule, LocalizedText, Registry
from consent_middleware.records.snapshot import Snapshot, snapshot_of


def test_hash_is_of_the_body(snapshot):
    """The hash is the SHA-256 of the text that is kept, which is canonical: sorted keys, no blanks."""
    assert snapshot.hash == hashlib.sha256(snapshot.body.encode()).hexdigest()
    content = json.loads(snapshot.body)
    assert json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == snapshot.body
    assert Snapshot.of_body(snapshot.body) == snapshot


def test_it_holds_what_visitors_were_told(snapshot):
    """Every purpose, vendor and cookie is in it, with its texts in every language, and the templates' hash."""
    content = snapshot.content
    assert [purpose["id"] for purpose in content["purposes"]] == [
        "essential",
        "analytics",
        "advertising",
        "counting",
    ]
    assert content["purposes"][1]["title"] == {"en": "Audience", "fr": "Mesure d'audience"}
    assert content["vendors"][0]["name"] == {"": "Google"}
    assert [cookie["lifetime"] for cookie in content["cookies"]] == ["session", "13 months", None]
    assert content["templates"] == "hash of the templates"


def test_the_hash_is_the_same_everywhere():
    """The hash is fixed: a change of the library must not make a new snapshot of an old registry."""
    registry = Registry(purposes={}, cookies=(CookieRule(name="a", purpose="essential"),))
    assert (
        snapshot_of(registry, "t").hash == "5e5d95122d690496281799fa667fff7067bdba2d5c3922c3eb0293a88c71d4d4"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, version=3),
        lambda r: replace(r, site=replace(r.site, contact="privacy@example.com")),
        lambda r: replace(r, consent=replace(r.consent, lifetime=Period.parse("6 months"))),
        lambda r: replace(r, cookies=r.cookies[:1]),
        lambda r: replace(
            r,
            purposes={
                **r.purposes,
                "analytics": replace(r.purposes["analytics"], title=LocalizedText.of("Other")),
            },
        ),
    ],
)
def test_what_is_told_changes_the_hash(registry, snapshot, change):
    """A change of anything that a visitor was told is another snapshot."""
    assert snapshot_of(change(registry), "hash of the templates").hash != snapshot.hash
    assert snapshot_of(registry, "other templates").hash != snapshot.hash


def test_what_is_not_told_does_not(registry, snapshot):
    """A setting of the machinery makes no new snapshot."""
    changed = replace(registry, consent=replace(registry.consent, mode="observe", unknown="keep", path="/c"))
    assert snapshot_of(changed, "hash of the templates") == snapshot
