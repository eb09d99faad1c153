"""What a description cannot say of the tries: keys that are used once, a branch that must not be sawn off, and addresses
to which nothing may be sent."""

import itertools
import os
import re

import schemathesis

WELL_FORMED = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """A generated idempotency key comes again with another body, and is then rightly refused: each is made new."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and WELL_FORMED.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key[:240].rstrip()}-{next(numbers)}"


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Answers name the project of the key in use, and it would be used where a project or its keys come to an end."""
    operation = context.operation.definition.raw
    if path_parameters and path_parameters.get("id") == os.environ["XFILES_PROJECT"]:
        if operation["operationId"] in {"deleteProject", "revokeKey", "rotateKey"}:
            path_parameters["id"] = os.environ["XFILES_SPARE_PROJECT"]
        elif "Webhooks" in operation["tags"]:
            path_parameters["id"] = os.environ["XFILES_KEYED_PROJECT"]
    return path_parameters
