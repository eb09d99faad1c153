"""What a description cannot say of the tries: keys that are used once, a branch that must not be sawn off, and addresses
to which nothing may be sent."""

import itertools
import os
import re

import schemathesis

WELL_FORMED = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
ID = re.compile(r"[a-z0-9]{12}")
numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """A generated idempotency key comes again with another body, and is then rightly refused: each is made new. Of a case
    that is to be refused anyway nothing is touched, or it would be judged as if all of it had been right."""
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and WELL_FORMED.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key[:240].rstrip()}-{next(numbers)}"


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Answers name the project of the key in use, and it would be used where a project or its keys come to an end, or where
    its events would be sent to addresses that are made up. Of webhooks there is one that can be found."""
    if not path_parameters:
        return path_parameters
    operation = context.operation.definition.raw
    ours = path_parameters.get("id") == os.environ["XFILES_PROJECT"]
    if ours and operation["operationId"] in {"deleteProject", "revokeKey", "rotateKey"}:
        path_parameters["id"] = os.environ["XFILES_SPARE_PROJECT"]
    elif "Webhooks" in operation["tags"]:
        ids = [path_parameters.get(name) for name in ("id", "webhook") if name in path_parameters]
        generated = len(ids) == 2 and all(isinstance(id, str) and ID.fullmatch(id) for id in ids)
        if ours or generated:
            path_parameters["id"] = os.environ["XFILES_KEYED_PROJECT"]
        if generated and operation["operationId"] != "deleteWebhook":
            path_parameters["webhook"] = os.environ["XFILES_WEBHOOK"]
    return path_parameters
