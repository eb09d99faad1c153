"""Verification of webhooks; docs/webhooks.md."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

TOLERANCE_S = 300
"""How far a message's timestamp may be from now."""


class WebhookError(Exception):
    """A message that is not from this webhook, or too old."""


def verify_webhook(
    body: bytes | str, headers: Mapping[str, str], secret: str | Sequence[str], *, now: float | None = None
) -> dict[str, Any]:
    """Verifies a message and returns its event. `body` must be the bytes as received."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not lower.get(name):
            raise WebhookError(f"the header {name} is missing")
    timestamp = lower["webhook-timestamp"]
    current = time.time() if now is None else now
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(current - int(timestamp)) > TOLERANCE_S:
        raise WebhookError("the header webhook-timestamp is more than five minutes from now")
    raw = body.encode() if isinstance(body, str) else body
    message = f"{lower['webhook-id']}.{timestamp}.".encode() + raw
    for one in [secret] if isinstance(secret, str) else secret:
        expected = hmac.new(base64.b64decode(one.removeprefix("whsec_")), message, hashlib.sha256).digest()
        for signature in lower["webhook-signature"].split(" "):
            if not signature.startswith("v1,"):
                continue
            try:
                given = base64.b64decode(signature[3:], validate=True)
            except binascii.Error:
                continue
            if hmac.compare_digest(given, expected):
                event: dict[str, Any] = json.loads(raw)
                return event
    raise WebhookError("no signature in webhook-signature is right for this body and secret")
