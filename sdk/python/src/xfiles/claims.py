"""Claims of sdk/PROTOCOL.md."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, TypedDict


class Claim(TypedDict):
    """What a claim says. The holder can read it and cannot change it."""

    fileId: str
    route: str
    context: Any
    exp: int


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _sign(api_key: str, signed: str) -> bytes:
    # HKDF-SHA256 without salt, for 32 bytes: one block of its expansion.
    derived = _mac(_mac(bytes(32), api_key.encode()), b"xfiles upload claim v1\x01")
    return _mac(derived, signed.encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def sign_claim(api_key: str, claim: Claim) -> str:
    """Signs a claim with a key that is derived from the API key."""
    payload = {"f": claim["fileId"], "r": claim["route"], "c": claim["context"], "e": claim["exp"]}
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    signed = f"xfc1.{_encode(text.encode())}"
    return f"{signed}.{_encode(_sign(api_key, signed))}"


def read_claim(api_keys: Sequence[str], token: str, now: float) -> Claim | None:
    """The claim that `token` says, or None if no key signed it or its time is over."""
    parts = token.split(".")
    if len(parts) != 3 or parts[0] != "xfc1":
        return None
    try:
        given = _decode(parts[2])
        for api_key in api_keys:
            if hmac.compare_digest(given, _sign(api_key, f"xfc1.{parts[1]}")):
                payload = json.loads(_decode(parts[1]))
                if payload["e"] <= now:
                    return None
                return {"fileId": payload["f"], "route": payload["r"], "context": payload["c"], "exp": payload["e"]}
    except (binascii.Error, ValueError):
        pass
    return None
