"""Idempotency keys that are used once: a generated one comes again with another body, and is then rightly refused."""

import itertools
import re

import schemathesis

WELL_FORMED = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and WELL_FORMED.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key[:240].rstrip()}-{next(numbers)}"
