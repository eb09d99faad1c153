"""Against a real `xf serve`; sdk/js has the same cases."""

import asyncio
import io
import json
import uuid

import httpx2
import pytest
from xfiles import AsyncXFiles, XFiles, XFilesError
from xfiles.uploads import Grant, Route, Uploads


@pytest.fixture(scope="module")
def client(server):
    with XFiles(server["apiKey"], server["url"]) as client:
        yield client


def test_uploads_lists_changes_reorders_and_deletes(client, tmp_path):
    (tmp_path / "two.txt").write_text("def")

    def entity(position):
        return {"type": "listing", "id": "py", "position": position}

    steps = []
    one = client.files.upload("abc", filename="one.txt", entity=entity(0), on_progress=lambda sent, size: steps.append((sent, size)))
    two = client.files.upload(tmp_path / "two.txt", entity=entity(1), visibility="public")
    three = client.files.upload(io.BytesIO(b"ghi"), filename="three.txt", entity=entity(2))
    assert steps == [(3, 3)]
    where = {"entityType": "listing", "entityId": "py"}

    def names():
        return [file["originalFilename"] for file in client.files.list(**where, limit=1)]

    assert names() == ["one.txt", "two.txt", "three.txt"]
    assert client.files.page(**where)["total"] == 3
    client.files.reorder("listing", "py", [three["id"], two["id"], one["id"]])
    assert names() == ["three.txt", "two.txt", "one.txt"]
    assert httpx2.get(client.files.urls(one["id"], expiresIn=60)["url"]).text == "abc"
    etag = client.files.get(one["id"])["file"]["etag"]
    assert client.files.update(one["id"], {"ownerUserId": "u"}, if_match=etag)["ownerUserId"] == "u"
    with pytest.raises(XFilesError) as error:
        client.files.update(one["id"], {"ownerUserId": None}, if_match=etag)
    assert error.value.code == "precondition_failed"
    with pytest.raises(XFilesError):
        client.files.cancel(one["id"])
    assert client.files.delete(one["id"])["success"]
    assert client.files.delete_all([two["id"]]) == [{"success": True}]
    assert client.files.delete_where(**where) == 1
    with pytest.raises(XFilesError) as error:
        client.files.get(three["id"])
    assert (error.value.code, error.value.status) == ("file_not_found", 404)


def test_gives_quota_back_when_an_upload_fails(client):
    before = client.usage()
    with pytest.raises(XFilesError) as error:
        client.files.upload(b"no picture", filename="a.png")
    assert error.value.code == "content_type_mismatch"
    with pytest.raises(XFilesError) as error:
        client.files.upload(b"abc", filename="a.txt", checksumSha256="A" * 43 + "=")
    assert error.value.code == "upload_refused"

    def broken(sent, size):
        raise RuntimeError("the caller stopped")

    with pytest.raises(RuntimeError):
        client.files.upload(b"abc", filename="a.txt", on_progress=broken)
    assert client.usage() == before


def test_reports_every_field_error(client):
    with pytest.raises(XFilesError) as error:
        client.files.begin({"filename": "", "contentType": "text/plain", "size": -1})
    assert sorted(one["pointer"] for one in error.value.errors) == ["/filename", "/size"]


def test_manages_projects_and_keys(client, server):
    project = client.projects.create({"name": "py", "quotaBytes": 1000})
    made = client.keys.create(project["id"], {"name": "k", "scopes": ["read"]})
    with XFiles(made["apiKey"], server["url"]) as reader, pytest.raises(XFilesError) as error:
        reader.files.begin({"filename": "a.txt", "contentType": "text/plain", "size": 1})
    assert error.value.code == "missing_scope"
    client.keys.revoke(project["id"], made["key"]["id"])
    client.projects.delete(project["id"])


def test_the_asynchronous_client(server, tmp_path):
    (tmp_path / "big.txt").write_bytes(b"a" * 1_000_000)

    async def run():
        async with AsyncXFiles(server["apiKey"], server["url"]) as client:
            steps = []
            file = await client.files.upload(tmp_path / "big.txt", ownerUserId="async", on_progress=lambda sent, _: steps.append(sent))
            assert steps[-1] == 1_000_000 and len(steps) == 4
            assert [one["id"] async for one in client.files.list(ownerUserId="async")] == [file["id"]]
            await client.files.delete(file["id"])

    asyncio.run(run())


@pytest.fixture(scope="module")
def uploads(client, server):
    def parse(raw):
        if not isinstance(raw, dict) or not isinstance(raw.get("album"), int):
            raise ValueError("`album` must be a number")
        return raw

    note = Route(
        authorize=lambda begin: Grant(owner_user_id="zoe", context=begin.input) if begin.headers.get("cookie") == "user=zoe" else None,
        on_confirmed=lambda file, context: {"album": context["album"], "name": file["originalFilename"]},
        accept=["text/*"],
        max_bytes=1000,
        max_files=100,
        parse=parse,
    )
    return Uploads(client, [server["apiKey"]], {"note": note}, origins=["https://friend.test"])


def call(uploads, message, **headers):
    given = {"content-type": "application/json", "cookie": "user=zoe", "host": "app.test"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    status, out, body = uploads.handle("POST", given, json.dumps(message).encode())
    return {"status": status, "headers": out, **json.loads(body)}


def begin(files, **more):
    return {"action": "begin", "route": "note", "input": {"album": 7}, "attempt": uuid.uuid4().hex, "files": files, **more}


NOTE = {"name": "a.txt", "type": "text/plain", "size": 3}


def test_the_handler_uploads_from_begin_to_on_confirmed(uploads):
    one = call(uploads, begin([NOTE]))["uploads"][0]
    assert call(uploads, {"action": "confirm", "claims": [one["claim"]]})["files"][0]["error"]["code"] == "not_uploaded"
    one = call(uploads, {"action": "renew", "claim": one["claim"]})["upload"]
    assert httpx2.put(one["url"], headers=one["headers"], content=b"abc").status_code == 200
    for _ in range(2):
        result = call(uploads, {"action": "confirm", "claims": [one["claim"]]})["files"][0]
        assert result["data"] == {"album": 7, "name": "a.txt"}
    cancelled = call(uploads, {"action": "cancel", "claims": [one["claim"]]})["results"][0]
    assert cancelled["error"]["code"] == "precondition_failed"


def test_the_handler_reserves_once_for_a_repeated_attempt(uploads, client):
    before = client.usage()
    message = begin([NOTE])
    first, second = call(uploads, message), call(uploads, message)
    assert first["uploads"][0]["url"] == second["uploads"][0]["url"]
    assert call(uploads, {"action": "cancel", "claims": [first["uploads"][0]["claim"]]})["results"] == [{"cancelled": True}]
    assert client.usage() == before


def test_the_handler_refuses_files_one_by_one(uploads):
    files = [NOTE, {**NOTE, "type": "image/png"}, {**NOTE, "size": 1001}, {**NOTE, "name": "x" * 2000}, {**NOTE, "type": "text/x-unheard-of"}]
    results = call(uploads, begin(files))["uploads"]
    codes = [one.get("error", {}).get("code", "ok") for one in results]
    assert codes == ["ok", "content_type_not_allowed", "file_too_large", "invalid_request", "invalid_request"]


@pytest.mark.parametrize(
    ("message", "headers", "status", "code"),
    [
        (begin([NOTE]), {"cookie": ""}, 403, "not_authorized"),
        ({"action": "cancel", "claims": ["x"]}, {"sec_fetch_site": "cross-site"}, 403, "cross_site"),
        ({"action": "cancel", "claims": ["x"]}, {"sec_fetch_site": "same-site"}, 403, "cross_site"),
        ({"action": "cancel", "claims": ["x"]}, {"origin": "https://evil.test"}, 403, "cross_site"),
        ({"action": "cancel", "claims": ["x"]}, {"origin": "null"}, 403, "cross_site"),
        (begin([NOTE], route="nothing"), {}, 404, "unknown_route"),
        (begin([NOTE], input={}), {}, 400, "invalid_input"),
        (begin([NOTE], attempt="short"), {}, 400, "invalid_request"),
        (begin([]), {}, 400, "invalid_request"),
        (begin([NOTE] * 101), {}, 400, "invalid_request"),
        ({}, {}, 400, "invalid_request"),
        ([], {}, 400, "malformed_json"),
        ({}, {"content_type": "text/plain"}, 415, "unsupported_media_type"),
        ({"action": "x" * 65536}, {}, 413, "body_too_large"),
        ({"action": "renew", "claim": "xfc1.e30.AAAA"}, {}, 403, "invalid_claim"),
    ],
)
def test_the_handler_refuses(uploads, message, headers, status, code):
    answer = call(uploads, message, **headers)
    assert (answer["status"], answer["code"]) == (status, code)
    assert answer["headers"]["content-type"] == "application/problem+json"


def test_the_handler_lets_named_origins_in(uploads):
    answer = call(uploads, {"action": "cancel", "claims": ["x"]}, origin="https://friend.test", sec_fetch_site="cross-site")
    assert answer["status"] == 200
    assert answer["headers"]["access-control-allow-origin"] == "https://friend.test"
