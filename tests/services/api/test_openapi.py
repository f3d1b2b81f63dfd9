"""The description the page's types are made from."""

from __future__ import annotations

import json

from tapelab.api.openapi import openapi_json


def test_every_call_is_described_with_a_typed_answer_and_problems():
    made = json.loads(openapi_json())
    calls = {(method.upper(), path) for path, methods in made["paths"].items() for method in methods}
    assert calls >= {
        ("GET", "/healthz"),
        ("GET", "/ml/data/status"),
        ("GET", "/ml/signals"),
        ("GET", "/ml/bars"),
        ("GET", "/ml/experiments"),
        ("POST", "/ml/experiments"),
        ("GET", "/ml/experiments/{id}"),
        ("GET", "/ml/models"),
        ("GET", "/ml/models/{model_id}"),
        ("POST", "/ml/models/{model_id}/promote"),
        ("POST", "/ml/models/rollback"),
        ("POST", "/ml/halts/{symbol}"),
        ("DELETE", "/ml/halts/{symbol}"),
        ("POST", "/auth/login"),
    }
    for path, methods in made["paths"].items():
        for operation in methods.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"], path
            for status, response in operation["responses"].items():
                assert status in ("204", "default") or response["content"]["application/json"]["schema"].get("$ref")


def test_every_reference_leads_somewhere_and_the_text_is_stable():
    text = openapi_json()
    schemas = json.loads(text)["components"]["schemas"]
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= schemas.keys()
    assert text == openapi_json()
