"""The JSON API in OpenAPI 3.1, in terms of this registry: its ids are the keys of questions and answers."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from werkzeug import Response

from ..core.choice import Choice
from ..core.registry import LawModel, Registry
from .answers import CONTINUED_BROWSING, JSON
from .visit import Visit, json_response

_MOMENT = {"type": ["string", "null"], "format": "date-time"}
_TOKEN = {
    "name": "Consent-Token",
    "in": "header",
    "description": "The token of an app that keeps it itself, instead of a cookie.",
    "schema": {"type": "string"},
}


def show(visit: Visit) -> Response:
    """The description of the API as it is served here."""
    return json_response(
        description(visit.exchange.policy.registry, visit.presentation.url().removesuffix("/"))
    )


def description(registry: Registry, base: str) -> dict[str, Any]:
    """The OpenAPI document of a registry whose pages are at `base`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cookie consent", "version": str(registry.version)},
        "servers": [{"url": base}],
        "paths": {
            "/": {"post": _choose()},
            "/offer": {"get": _read("What is asked, in one language", "Offer")},
            "/state": {"get": _read("What holds for the visitor", "State")},
            "/receipt": {"get": _read("The visitor's own copy of the record", "Receipt", "404", "503")},
        },
        "components": {"schemas": _schemas(registry)},
    }


def _choose() -> dict[str, Any]:
    errors = ("400", "403", "409", "413", "415", "422", "503")
    operation = _read("Make a choice", "State", *errors)
    return operation | {"requestBody": {"required": True, "content": {JSON: {"schema": _ref("Choice")}}}}


def _read(summary: str, schema: str, *errors: str) -> dict[str, Any]:
    problem = {
        "description": "What is wrong (RFC 9457)",
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }
    answer = {"description": summary, "content": {JSON: {"schema": _ref(schema)}}}
    return {
        "summary": summary,
        "parameters": [_TOKEN],
        "responses": {"200": answer} | dict.fromkeys(errors, problem),
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(registry: Registry) -> dict[str, Any]:
    kinds = {
        "purposes": registry.purposes,
        "vendors": registry.vendors,
        "cookies": [rule.name for rule in registry.cookies],
    }
    answers = {kind: _answers(ids) for kind, ids in kinds.items()}
    return {
        "Choice": _record(
            {
                "choice": {"enum": list(Choice)},
                **answers,
                "offer": {"type": "string", "description": "As in the offer that was shown."},
                "next": {"type": "string"},
                "source": {"enum": ["", CONTINUED_BROWSING]},
            },
            optional={*answers, "offer", "next", "source"},
        ),
        "State": _record(
            {
                "decided": {"type": "boolean"},
                **{kind: _answers(ids) | {"required": list(ids)} for kind, ids in kinds.items()},
                "decided_at": _MOMENT,
                "expires_at": _MOMENT,
                "version": {"type": "integer"},
                "ask": {"type": "boolean"},
                "model": {"enum": list(get_args(LawModel))},
                "gated": {"type": "array", "items": {"type": "string"}},
                "token": {"type": "string", "description": "For who sends no cookie."},
            },
            optional={"token"},
        ),
        "Offer": {"type": "object"},
        "Receipt": {"type": "object"},
        "Problem": _record(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            }
        ),
    }


def _answers(ids: Iterable[str]) -> dict[str, Any]:
    return _record({id: {"type": "boolean"} for id in ids}, optional=set(ids))


def _record(properties: Mapping[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in set(optional)]
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }
