"""The visitor's own copy of a record, as JSON-LD.

In the terms of the W3C Data Privacy Vocabulary (DPV 2) for consent records and receipts after
ISO/IEC TS 27560:2023: header, processing, parties and event. One process per purpose, since each was
answered by itself; vendors and cookies are named below their purposes.
"""

from datetime import datetime
from typing import Any

from ..core.registry import LocalizedText
from .event import ConsentEvent, Source, State, to_rfc3339
from .snapshot import Snapshot

_CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_SCHEMA = "https://w3id.org/dpv/schema/dpv-27560"


def receipt(event: ConsentEvent, snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    """A receipt for `event`, whose registry was `snapshot`, issued at `now`.

    The receipt holds what the record holds, but for the token: that is the visitor's key to the choice.
    """
    told = snapshot.content
    site, language, state = told["site"], event.language, event.state_at(now)
    answers = _Answers(event, state)
    return {
        "@context": _CONTEXT,
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": f"{_SCHEMA}#receipt",
        "dct:identifier": f"receipt-{event.record_id}",
        "dct:created": to_rfc3339(now),
        "dct:publisher": {"@id": "_:controller"},
        "dpv:hasRecordOfActivity": {
            "@id": f"urn:uuid:{event.record_id}",
            "@type": "dpv:ConsentRecord",
            "dct:conformsTo": f"{_SCHEMA}#record",
            "dct:identifier": event.record_id,
            "dct:language": language,
            "dct:replaces": f"urn:uuid:{event.previous}" if event.previous else None,
            "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": event.consent_id},
            "dpv:hasDataController": {
                "@id": "_:controller",
                "@type": "dpv:DataController",
                "dpv:hasName": _pick(site["name"], language) or site["id"],
                "dpv:hasContact": site["contact"] or None,
            },
            "dpv:hasNotice": {
                "@type": "dpv:ConsentNotice",
                "dct:identifier": f"sha256:{snapshot.hash}",
                "dct:hasVersion": told["version"],
                "dct:language": language,
                "dct:issued": to_rfc3339(event.offered_at) if event.offered_at else None,
                "dct:format": event.layout or None,
            },
            "dpv:hasConsentStatus": [_status(event, state)],
            "dpv:hasProcess": [
                answers.process(told, purpose)
                for purpose in told["purposes"]
                if f"purpose:{purpose['id']}" in event.granted + event.refused
            ],
        },
    }


def _status(event: ConsentEvent, state: State) -> dict[str, Any]:
    kind = "dpv:ImpliedConsent" if event.source is Source.CONTINUED_BROWSING else "dpv:ExpressedConsent"
    return {
        "@type": [state.term, kind],
        "skos:prefLabel": state,
        "dpv:isIndicatedAtTime": to_rfc3339(event.time),
        "dpv:isIndicatedBy": "dpv:DataSubject",
        "dpv:hasIndicationMethod": f"{event.source}: {event.action}",
        "dpv:isExercisedAt": event.host,
        "dpv:hasDuration": {"@type": "dpv:UntilTimeDuration", "rdf:value": to_rfc3339(event.expires_at)},
        "skos:note": [f"signal: {signal}" for signal in event.signals],
    }


class _Answers:
    """What a record says about each thing that was offered, as DPV terms; None for what was not offered."""

    def __init__(self, event: ConsentEvent, state: State) -> None:
        yes = state if state is State.EXPIRED else State.GIVEN
        no = state if state is State.WITHDRAWN else State.REFUSED
        self._terms = dict.fromkeys(event.granted, yes.term) | dict.fromkeys(event.refused, no.term)
        self._language = event.language

    def process(self, told: dict[str, Any], purpose: dict[str, Any]) -> dict[str, Any]:
        vendors = (vendor for vendor in told["vendors"] if purpose["id"] in vendor["purposes"])
        cookies = (cookie for cookie in told["cookies"] if cookie["purpose"] == purpose["id"])
        return {
            "@type": "dpv:Process",
            "dct:identifier": purpose["id"],
            "dpv:hasPurpose": {
                "@type": "dpv:Purpose",
                "skos:prefLabel": _pick(purpose["title"], self._language),
                "skos:definition": _pick(purpose["description"], self._language) or None,
            },
            # What needs no consent has its basis in the law of the place, which a registry does not name.
            "dpv:hasLegalBasis": ["dpv:Consent"] if purpose["basis"] == "consent" else [],
            "dpv:hasConsentStatus": self._terms.get(f"purpose:{purpose['id']}"),
            "dpv:hasRecipient": list(map(self._recipient, vendors)),
            "dpv:hasPersonalData": list(map(self._cookie, cookies)),
        }

    def _recipient(self, vendor: dict[str, Any]) -> dict[str, Any]:
        return {
            "@type": "dpv:ThirdParty",
            "dct:identifier": vendor["id"],
            "dpv:hasName": _pick(vendor["name"], self._language),
            "dct:references": _pick(vendor["privacy_url"], self._language) or None,
            "dpv:hasConsentStatus": self._terms.get(f"vendor:{vendor['id']}"),
        }

    def _cookie(self, cookie: dict[str, Any]) -> dict[str, Any]:
        return {
            "@type": "dpv:PersonalData",
            "dct:identifier": cookie["name"],
            "skos:prefLabel": [_pick(text, self._language) for text in cookie["data"]],
            "skos:definition": _pick(cookie["description"], self._language) or None,
            "dpv:hasStorageCondition": {"@type": "dpv:StorageDuration", "rdf:value": cookie["lifetime"]},
            "dpv:hasConsentStatus": self._terms.get(f"cookie:{cookie['name']}"),
        }


def _pick(wordings: dict[str, str], language: str) -> str:
    return LocalizedText.of(wordings).pick(language)
