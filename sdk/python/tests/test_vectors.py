"""The vectors that every client of XFiles passes."""

import json

import pytest
from conftest import vectors
from xfiles import WebhookError, verify_webhook
from xfiles._wire import error_of, retry_delay
from xfiles.claims import read_claim, sign_claim


def ids(case):
    return case["name"]


@pytest.mark.parametrize("case", vectors("claims")["sign"], ids=lambda case: case["claim"]["route"])
def test_signs_claims(case):
    assert sign_claim(case["key"], case["claim"]) == case["token"]


@pytest.mark.parametrize("case", vectors("claims")["read"], ids=ids)
def test_reads_claims(case):
    assert read_claim(case["keys"], case["token"], case["now"]) == case["claim"]


@pytest.mark.parametrize("case", vectors("retry"), ids=ids)
def test_retries(case):
    failure = case["failure"]
    delay = retry_delay(
        failure["method"],
        failure["status"],
        case["attempt"],
        case["random"],
        code=failure.get("code"),
        retry_after=failure.get("retryAfter"),
        idempotency_key=failure.get("idempotencyKey", False),
        if_match=failure.get("ifMatch", False),
    )
    assert (None if delay is None else round(delay * 1000)) == case["delayMs"]


@pytest.mark.parametrize("case", vectors("errors"), ids=ids)
def test_errors(case):
    error = error_of(case["status"], case["headers"], case["body"].encode(), case["now"] / 1000)
    wanted = case["error"]
    found = [error.code, error.status, error.detail, error.hint, error.errors, error.request_id, error.retry_after]
    names = ["code", "status", "detail", "hint", "errors", "requestId", "retryAfter"]
    assert found == [wanted[name] for name in names]


@pytest.mark.parametrize("case", vectors("webhooks"), ids=ids)
def test_webhooks(case):
    for body in (case["body"], case["body"].encode()):
        if case["valid"]:
            assert verify_webhook(body, case["headers"], case["secrets"], now=case["now"]) == json.loads(case["body"])
        else:
            with pytest.raises(WebhookError):
                verify_webhook(body, case["headers"], case["secrets"], now=case["now"])
