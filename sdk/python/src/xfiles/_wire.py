"""Builds requests, reads answers and decides on repetitions, without input and output.

An operation is a generator: it yields what is to be sent or slept, and is sent the answer.
"""

import email.utils
import json
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

T = TypeVar("T")

MAX_RETRY_AFTER_S = 60
"""The longest wait between two tries, also when the server asks for more; then the error is raised."""
BASE_S = 0.5
MAX_BACKOFF_S = 8.0


class XFilesError(Exception):
    """Any failure of a call. Programs should look at `code`; the text is for people.

    `code` is one of docs/errors.md, or `connection_failed`, `timeout`, `upload_refused` or `unexpected_answer`;
    `status` is 0 if there was no answer.
    """

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        *,
        hint: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        request_id: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.status = status
        self.detail = detail
        self.hint = hint
        self.errors = errors or []
        self.request_id = request_id
        self.retry_after = retry_after


@dataclass(slots=True)
class Request:
    """What is to be sent. `content` is called for each try, so that a body can be read again."""

    method: str
    url: str
    headers: dict[str, str]
    content: Callable[[], Any] | None = None
    timeout: float | None = None


@dataclass(slots=True, frozen=True)
class Answer:
    """What came back; `failure` says why nothing did."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str = ""


@dataclass(slots=True, frozen=True)
class Sleep:
    seconds: float


Op = Generator[Request | Sleep, Answer, T]


def parse_retry_after(value: str | None, now: float) -> int | None:
    """Seconds until the time that `Retry-After` names."""
    if not value:
        return None
    if value.strip().isdigit():
        return int(value)
    try:
        at = email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0, -int(-(at - now) // 1))


def error_of(status: int, headers: Mapping[str, str], body: bytes, now: float) -> XFilesError:
    """The error that an answer other than a success stands for."""
    retry_after = parse_retry_after(headers.get("retry-after"), now)
    request_id = headers.get("request-id")
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        code = problem["code"]
        return XFilesError(
            code,
            status,
            problem.get("detail") or code,
            hint=problem.get("hint"),
            errors=problem.get("errors"),
            request_id=problem.get("requestId") or request_id,
            retry_after=retry_after,
        )
    detail = f"the answer has status {status} and is no problem document; a proxy may have sent it"
    return XFilesError("unexpected_answer", status, detail, request_id=request_id, retry_after=retry_after)


def retry_delay(
    method: str,
    status: int,
    attempt: int,
    random: float,
    *,
    code: str | None = None,
    retry_after: int | None = None,
    idempotency_key: bool = False,
    if_match: bool = False,
) -> float | None:
    """Seconds until the next try of a request that failed `attempt` times before, or None if it must not be repeated."""
    repeatable = {"POST": idempotency_key, "PATCH": if_match}.get(method, True)
    passing = status in (0, 408, 429, 502, 503, 504) or (status == 409 and code == "request_in_flight")
    if not (repeatable and passing):
        return None
    if retry_after is not None:
        return None if retry_after > MAX_RETRY_AFTER_S else float(retry_after)
    return random * min(MAX_BACKOFF_S, BASE_S * 2.0**attempt)


def path(*parts: str) -> str:
    """A path below /api/v1, with every part encoded."""
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(slots=True, frozen=True)
class Wire:
    """The settings that requests are built with."""

    url: str
    api_key: str
    timeout: float
    retries: int
    random: Callable[[], float]
    now: Callable[[], float]

    def send(self, request: Request, *, once: bool = False) -> Op[Answer]:
        """Sends a request, and repeats it where that is safe."""
        attempt = 0
        while True:
            answer = yield request
            if 200 <= answer.status < 300:
                return answer
            if answer.failure == "timeout":
                error = XFilesError("timeout", 0, "there was no answer in time")
            elif answer.failure:
                detail = "the server could not be reached or the connection was lost"
                error = XFilesError("connection_failed", 0, detail)
            else:
                error = error_of(answer.status, answer.headers, answer.body, self.now())
            wait = retry_delay(
                request.method,
                error.status,
                attempt,
                self.random(),
                code=error.code,
                retry_after=error.retry_after,
                idempotency_key="idempotency-key" in request.headers,
                if_match="if-match" in request.headers,
            )
            if once or wait is None or attempt >= self.retries:
                raise error
            attempt += 1
            yield Sleep(wait)

    def call(
        self,
        method: str,
        where: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Op[Any]:
        """One operation of the API; its result is the JSON of the answer."""
        headers = {"accept": "application/json", "authorization": f"Bearer {self.api_key}"}
        if method == "POST":
            headers["idempotency-key"] = idempotency_key or str(uuid.uuid4())
        if if_match is not None:
            headers["if-match"] = if_match
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            encoded = json.dumps(body).encode()
            content = lambda: encoded  # noqa: E731
        pairs = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in (query or {}).items()
            if value is not None
        }
        url = self.url + where + (f"?{urlencode(pairs)}" if pairs else "")
        answer = yield from self.send(Request(method, url, headers, content, timeout or self.timeout))
        try:
            return json.loads(answer.body)
        except ValueError:
            detail = "the answer is no JSON; is `url` that of an XFiles API?"
            raise XFilesError("unexpected_answer", answer.status, detail) from None
