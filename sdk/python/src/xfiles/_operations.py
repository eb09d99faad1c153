"""The operations of the API as generators, shared by the two clients."""

import mimetypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ._wire import Op, Request, Wire, XFilesError, path

Body = bytes | str | os.PathLike[str] | IO[bytes]
Progress = Callable[[int, int], None]

CHUNK = 256 * 1024


def begin_upload(wire: Wire, intent: Mapping[str, Any], key: str | None = None) -> Op[Any]:
    return wire.call("POST", path("files", "upload-intent"), body=dict(intent), idempotency_key=key)


def begin_uploads(wire: Wire, intents: Sequence[Mapping[str, Any]], all_or_nothing: bool | None, key: str | None) -> Op[Any]:
    body: dict[str, Any] = {"files": [dict(intent) for intent in intents]}
    if all_or_nothing is not None:
        body["allOrNothing"] = all_or_nothing
    answer = yield from wire.call("POST", path("files", "upload-intents"), body=body, idempotency_key=key)
    return answer["results"]


def confirm(wire: Wire, file_id: str) -> Op[Any]:
    answer = yield from wire.call("POST", path("files", "confirm"), body={"fileId": file_id})
    return answer["file"]


def confirm_all(wire: Wire, ids: Sequence[str]) -> Op[Any]:
    answer = yield from wire.call("POST", path("files", "confirms"), body={"fileIds": list(ids)})
    return answer["results"]


def renew(wire: Wire, file_id: str) -> Op[Any]:
    return wire.call("POST", path("files", file_id, "resign"))


def cancel(wire: Wire, file_id: str) -> Op[Any]:
    # Confirmed files count from version 1, so version 0 spares them also if the confirmation happens meanwhile.
    return wire.call("DELETE", path("files", file_id), if_match='"0"')


def get(wire: Wire, file_id: str, wait: int | None, format: str | None) -> Op[Any]:
    timeout = wire.timeout + wait if wait else None
    return wire.call("GET", path("files", file_id), query={"wait": wait, "format": format}, timeout=timeout)


def page(wire: Wire, filters: Mapping[str, Any]) -> Op[Any]:
    return wire.call("GET", path("files"), query=filters)


def urls(wire: Wire, file_id: str, wish: Mapping[str, Any], format: str | None) -> Op[Any]:
    return wire.call("POST", path("files", file_id, "url"), body=dict(wish), query={"format": format})


def update(wire: Wire, file_id: str, change: Mapping[str, Any], if_match: str | None) -> Op[Any]:
    answer = yield from wire.call("PATCH", path("files", file_id), body=dict(change), if_match=if_match)
    return answer["file"]


def delete(wire: Wire, file_id: str, if_match: str | None, erase: bool | None) -> Op[Any]:
    return wire.call("DELETE", path("files", file_id), if_match=if_match, query={"erase": erase})


def delete_all(wire: Wire, ids: Sequence[str]) -> Op[Any]:
    results: list[Any] = []
    for start in range(0, len(ids), 1000):
        body = {"fileIds": list(ids[start : start + 1000])}
        results += (yield from wire.call("POST", path("files", "delete"), body=body))["results"]
    return results


def delete_where(wire: Wire, filters: Mapping[str, Any]) -> Op[int]:
    deleted = 0
    while True:
        answer = yield from wire.call("DELETE", path("files"), query=filters)
        deleted += answer["deleted"]
        if not answer.get("more"):
            return int(deleted)


def reorder(wire: Wire, entity_type: str, entity_id: str, ids: Sequence[str]) -> Op[Any]:
    answer = yield from wire.call("PUT", path("entities", entity_type, entity_id, "order"), body={"fileIds": list(ids)})
    return answer["files"]


def chunks(source: bytes | IO[bytes], size: int, progress: Progress | None) -> Iterator[bytes]:
    sent = 0
    while sent < size:
        chunk = source[sent : sent + CHUNK] if isinstance(source, bytes) else source.read(min(CHUNK, size - sent))
        if not chunk:
            return
        yield chunk
        sent += len(chunk)
        if progress:
            progress(sent, size)


def upload(
    wire: Wire,
    body: Body,
    *,
    filename: str | None,
    content_type: str | None,
    size: int | None,
    on_progress: Progress | None,
    fields: Mapping[str, Any],
) -> Op[Any]:
    """Uploads bytes and publishes them. If it fails, the upload is ended and its quota given back."""
    source: bytes | IO[bytes]
    opened: IO[bytes] | None = None
    if isinstance(body, os.PathLike):
        filename = filename or Path(body).name
        source = opened = open(body, "rb")
    else:
        source = body.encode() if isinstance(body, str) else body
    try:
        filename = filename or os.path.basename(getattr(source, "name", "") or "")
        if not filename:
            raise TypeError("`filename` is missing; only a path or an open file has a name of its own")
        again = True
        start = 0
        if isinstance(source, bytes):
            size = len(source)
        else:
            again = source.seekable()
            if again:
                start = source.tell()
                size = source.seek(0, os.SEEK_END) - start if size is None else size
            elif size is None:
                raise TypeError("`size` is missing; the length of a stream is not known before its end")
        content_type = content_type or mimetypes.guess_type(filename)[0]
        if not content_type:
            raise TypeError("`content_type` is missing, and the extension of `filename` is not known")
        length = size
        begun = yield from begin_upload(
            wire, {**fields, "filename": filename, "contentType": content_type, "size": length}
        )

        def content() -> Iterator[bytes]:
            if again and not isinstance(source, bytes):
                source.seek(start)
            return chunks(source, length, on_progress)

        try:
            # The length is part of the signature; without the header the body would be sent in chunks and refused.
            headers = {**begun["headers"], "content-length": str(length)}
            try:
                yield from wire.send(Request("PUT", begun["uploadUrl"], headers, content, wire.timeout), once=not again)
            except XFilesError as error:
                if error.code != "unexpected_answer":
                    raise
                detail = f"the store refused the bytes with status {error.status}; size, type and checksum must be those of the intent"
                raise XFilesError("upload_refused", error.status, detail, request_id=error.request_id) from None
            return (yield from confirm(wire, begun["fileId"]))
        except BaseException as error:
            if not isinstance(error, GeneratorExit):
                try:
                    yield from cancel(wire, begun["fileId"])
                except XFilesError:
                    pass
            raise
    finally:
        if opened:
            opened.close()
