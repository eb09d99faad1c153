"""The upload handler of sdk/PROTOCOL.md, for any framework.

`Uploads(...).handle(method, headers, body)` answers `(status, headers, body)`; in FastAPI, Django and Flask that is a
view of a few lines. Run it in a thread where the framework is asynchronous: it waits for the API.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ._clients import XFiles
from ._wire import XFilesError
from .claims import Claim, read_claim, sign_claim

MAX_MESSAGE_BYTES = 65_536
MAX_ITEMS = 100
MAX_CONTEXT_BYTES = 2048
CLAIM_LIFE_S = 24 * 3600
MAX_BYTES = 104_857_600
"""The API's limit of one upload; openapi.json, `UploadIntent.size`."""


@dataclass(slots=True, frozen=True)
class Begin:
    """What `authorize` decides about."""

    headers: Mapping[str, str]
    input: Any
    files: Sequence[Mapping[str, Any]]


@dataclass(slots=True, frozen=True)
class Grant:
    """What `authorize` grants. `entity` may be a function of the file and its index."""

    visibility: str = "private"
    owner_user_id: str | None = None
    entity: Mapping[str, Any] | Callable[[Mapping[str, Any], int], Mapping[str, Any]] | None = None
    variants: bool | str = False
    context: Any = None


@dataclass(slots=True, frozen=True)
class Route:
    """One kind of upload. `on_confirmed(file, context)` runs at least once: make it idempotent by `file["id"]`."""

    authorize: Callable[[Begin], Grant | None]
    on_confirmed: Callable[[Any, Any], Any] | None = None
    accept: Sequence[str] = ()
    max_bytes: int = MAX_BYTES
    max_files: int = 1
    parse: Callable[[Any], Any] = field(default=lambda raw: raw)


class _Refusal(Exception):
    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.problem = {"status": status, "code": code, "detail": detail, **more}


def _accepts(accept: Sequence[str], name: str, kind: str) -> bool:
    def one(wanted: str) -> bool:
        if wanted.startswith("."):
            return name.lower().endswith(wanted)
        return wanted in (kind, "*/*") or (wanted.endswith("/*") and kind.startswith(wanted[:-1]))

    return not accept or any(one(wanted.strip().lower()) for wanted in accept)


class Uploads:
    """An upload handler."""

    def __init__(
        self,
        client: XFiles,
        api_keys: Sequence[str],
        routes: Mapping[str, Route],
        *,
        origins: Sequence[str] = (),
        on_error: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        if isinstance(api_keys, str) or not api_keys:
            raise TypeError("`api_keys` must be a list of API keys; the first signs")
        for name, route in routes.items():
            if not 0 <= route.max_bytes <= MAX_BYTES or not 1 <= route.max_files <= MAX_ITEMS:
                raise TypeError(f"the route {name} must have at most {MAX_BYTES} `max_bytes` and 1 to {MAX_ITEMS} `max_files`")
        self._client = client
        self._keys = api_keys
        self._routes = dict(routes)
        self._origins = origins
        self._on_error = on_error

    def handle(self, method: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answers one request of the protocol."""
        given = {name.lower(): value for name, value in headers.items()}
        out = {"cache-control": "no-store", "vary": "origin", "content-type": "application/json"}
        origin = given.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != given.get("host")
        named = foreign and origin in self._origins
        if named and origin:
            out |= {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}
        try:
            site = given.get("sec-fetch-site")
            if not named and (site not in ("same-origin", "none") if site else foreign):
                raise _Refusal(403, "cross_site", "pages of this origin may not upload here", hint="Name the origin in `origins`.")
            if method == "OPTIONS":
                out |= {"access-control-allow-methods": "GET, POST", "access-control-allow-headers": "content-type"}
                return 204, out, b""
            return 200, out, json.dumps(self._answer(method, given, body)).encode()
        except Exception as error:
            problem = self._problem(error)
            if isinstance(error, XFilesError) and error.retry_after is not None:
                out["retry-after"] = str(error.retry_after)
            out["content-type"] = "application/problem+json"
            whole = {"type": f"urn:xfiles:problem:{problem['code']}", "title": problem["detail"], "error": problem["detail"], "errors": [], **problem}
            return problem["status"], out, json.dumps(whole).encode()

    def on_event(self, event: Mapping[str, Any], choose: Callable[[Any], tuple[str, Any] | None]) -> Any:
        """Calls `on_confirmed` for a verified `file.confirmed` event; `choose` gives the file's route and context."""
        if event["type"] != "file.confirmed":
            return None
        file = self._client.files.get(event["data"]["fileId"])["file"]
        chosen = choose(file)
        if chosen is None:
            return None
        on_confirmed = self._routes[chosen[0]].on_confirmed
        return on_confirmed(file, chosen[1]) if on_confirmed else None

    def _answer(self, method: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        if method in ("GET", "HEAD"):
            limits = {
                name: {"accept": list(route.accept), "maxBytes": route.max_bytes, "maxFiles": route.max_files}
                for name, route in self._routes.items()
            }
            return {"routes": limits}
        if method != "POST":
            raise _Refusal(405, "method_not_allowed", "the upload handler takes GET and POST")
        if len(body) > MAX_MESSAGE_BYTES:
            raise _Refusal(413, "body_too_large", f"the message is longer than {MAX_MESSAGE_BYTES} bytes")
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise _Refusal(415, "unsupported_media_type", "the message must be declared as application/json")
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise _Refusal(400, "malformed_json", "the message is no JSON object")
        match message.get("action"):
            case "begin":
                return self._begin(headers, message)
            case "confirm":
                return self._confirm(message)
            case "renew":
                claim = self._claimed(message.get("claim"))
                return {"upload": self._begun(self._client.files.renew(claim["fileId"]), claim["route"], claim["context"])}
            case "cancel":
                return {"results": [self._cancel(token) for token in _items(message.get("claims"), "claims")]}
        raise _Refusal(400, "invalid_request", "`action` must be `begin`, `confirm`, `renew` or `cancel`")

    def _begin(self, headers: Mapping[str, str], message: Mapping[str, Any]) -> dict[str, Any]:
        name = message.get("route")
        route = self._routes.get(name) if isinstance(name, str) else None
        if route is None or not isinstance(name, str):
            raise _Refusal(404, "unknown_route", "this handler has no such route")
        files = _items(message.get("files"), "files")
        for file in files:
            size = file.get("size") if isinstance(file, dict) else None
            if type(size) is not int or size < 0 or not isinstance(file.get("name"), str) or not isinstance(file.get("type"), str):
                raise _Refusal(400, "invalid_request", "each of `files` must have the texts `name` and `type` and the whole number `size`")
        attempt = message.get("attempt")
        if not isinstance(attempt, str) or not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", attempt):
            raise _Refusal(400, "invalid_request", "`attempt` must be 16 to 64 letters, digits, `-` or `_`, random for each new batch")
        try:
            parsed = route.parse(message.get("input"))
        except Exception as error:
            raise _Refusal(400, "invalid_input", f"`input` is not valid: {error}") from None
        grant = None
        try:
            grant = route.authorize(Begin(headers, parsed, files))
        except Exception as error:
            self._on_error(error)
        if grant is None:
            raise _Refusal(403, "not_authorized", "this upload is not permitted")
        if len(files) > route.max_files:
            raise _Refusal(400, "too_many_files", f"{len(files)} files were given; the route takes {route.max_files}")
        if len(json.dumps(grant.context, ensure_ascii=False).encode()) > MAX_CONTEXT_BYTES:
            raise TypeError(f"the context of the route {name} is longer than {MAX_CONTEXT_BYTES} bytes of JSON")
        results: list[Any] = [None] * len(files)
        places: list[int] = []
        intents: list[Any] = []
        for index, file in enumerate(files):
            kind = file["type"].split(";")[0].strip().lower()
            if not kind or not _accepts(route.accept, file["name"], kind):
                detail = f"the type {kind or 'of the file'} is not accepted"
                results[index] = {"error": {"status": 400, "code": "content_type_not_allowed", "detail": detail}}
            elif file["size"] > route.max_bytes:
                detail = f"the file has {file['size']} bytes; the route takes {route.max_bytes}"
                results[index] = {"error": {"status": 400, "code": "file_too_large", "detail": detail}}
            else:
                places.append(index)
                intents.append(_intent(file, kind, grant, index))
        while intents:
            # A repeated `begin` is answered with the same uploads; the key covers the intents.
            digest = hashlib.sha256(json.dumps([name, attempt, intents, grant.context]).encode()).hexdigest()
            try:
                answers = self._client.files.begin_all(intents, idempotency_key=f"begin-{digest}")
            except XFilesError as error:
                # The API refuses a batch as a whole for a fault in one intent; only that file fails here.
                for at, problem in sorted(_faults(error).items(), reverse=True):
                    del intents[at]
                    results[places.pop(at)] = {"error": problem}
                continue
            for place, answer in zip(places, answers, strict=True):
                results[place] = answer if "error" in answer else self._begun(answer, name, grant.context)
            break
        return {"uploads": results}

    def _begun(self, upload: Any, route: str, context: Any) -> dict[str, Any]:
        claim: Claim = {"fileId": upload["fileId"], "route": route, "context": context, "exp": int(time.time()) + CLAIM_LIFE_S}
        return {
            "claim": sign_claim(self._keys[0], claim),
            "url": upload["uploadUrl"],
            "headers": upload["headers"],
            "expiresAt": upload["expiresAt"],
        }

    def _claimed(self, token: Any) -> Claim:
        claim = read_claim(self._keys, token, time.time()) if isinstance(token, str) else None
        if claim is None or claim["route"] not in self._routes:
            raise _Refusal(403, "invalid_claim", "the claim is not one of this handler, or it has expired")
        return claim

    def _confirm(self, message: Mapping[str, Any]) -> dict[str, Any]:
        results: list[Any] = []
        claims: list[tuple[int, Claim]] = []
        for index, token in enumerate(_items(message.get("claims"), "claims")):
            results.append(None)
            try:
                claims.append((index, self._claimed(token)))
            except _Refusal as refusal:
                results[index] = {"error": refusal.problem}
        answers = self._client.files.confirm_all([claim["fileId"] for _, claim in claims]) if claims else []
        for (index, claim), answer in zip(claims, answers, strict=True):
            results[index] = self._confirmed(claim, answer)
        return {"files": results}

    def _confirmed(self, claim: Claim, answer: Any) -> dict[str, Any]:
        if "error" in answer:
            return {"error": answer["error"]}
        on_confirmed = self._routes[claim["route"]].on_confirmed
        try:
            return {"file": answer["file"], "data": on_confirmed(answer["file"], claim["context"]) if on_confirmed else None}
        except Exception as error:
            self._on_error(error)
            detail = "the file is stored; the application could not take note of it"
            return {"error": {"status": 500, "code": "on_confirmed_failed", "detail": detail, "hint": "Confirm again."}}

    def _cancel(self, token: Any) -> dict[str, Any]:
        try:
            self._client.files.cancel(self._claimed(token)["fileId"])
        except Exception as error:
            # What does not exist any more is cancelled.
            if not (isinstance(error, XFilesError) and error.code == "file_not_found"):
                return {"error": self._problem(error)}
        return {"cancelled": True}

    def _problem(self, error: Exception) -> dict[str, Any]:
        if isinstance(error, _Refusal):
            return error.problem
        self._on_error(error)
        if not isinstance(error, XFilesError):
            return {"status": 500, "code": "internal", "detail": "the upload handler failed"}
        # A refused API key is a fault of the application's configuration; the browser must not take it for its user's.
        if error.status < 400 or error.status in (401, 403):
            return {"status": 502, "code": "upstream_failed", "detail": "the file service cannot be used at the moment"}
        problem = {"status": error.status, "code": error.code, "detail": error.detail, "errors": error.errors}
        return problem | {name: value for name, value in (("hint", error.hint), ("requestId", error.request_id)) if value}


def _items(value: Any, name: str) -> list[Any]:
    if isinstance(value, list) and 1 <= len(value) <= MAX_ITEMS:
        return value
    raise _Refusal(400, "invalid_request", f"`{name}` must be a list of 1 to {MAX_ITEMS} items")


def _intent(file: Mapping[str, Any], kind: str, grant: Grant, index: int) -> dict[str, Any]:
    intent = {"filename": file["name"], "contentType": kind, "size": file["size"], "visibility": grant.visibility}
    if grant.owner_user_id is not None:
        intent["ownerUserId"] = grant.owner_user_id
    if grant.entity is not None:
        intent["entity"] = dict(grant.entity(file, index) if callable(grant.entity) else grant.entity)
    if isinstance(file.get("checksumSha256"), str):
        intent["checksumSha256"] = file["checksumSha256"]
    if grant.variants:
        visibility = grant.visibility if grant.variants is True else grant.variants
        intent["transformations"] = {"image": {"enabled": True, "visibility": visibility}}
    return intent


def _faults(error: XFilesError) -> dict[int, dict[str, Any]]:
    """The faults of each intent by its index; raises the error if it concerns anything else."""
    faults: dict[int, list[dict[str, Any]]] = {}
    for fault in error.errors:
        found = re.match(r"/files/(\d+)(?=/|$)", fault["pointer"])
        if not found:
            raise error
        faults.setdefault(int(found[1]), []).append({**fault, "pointer": fault["pointer"][found.end() :]})
    if error.code != "invalid_request" or not faults:
        raise error
    return {
        index: {"status": 400, "code": error.code, "detail": "; ".join(f"{one['pointer'][1:]} {one['detail']}" for one in errors), "errors": errors}
        for index, errors in faults.items()
    }
