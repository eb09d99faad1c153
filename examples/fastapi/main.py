"""FastAPI as the back end of the page in examples/static: `uvicorn main:app`, with XFILES_URL and XFILES_API_KEY."""

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.staticfiles import StaticFiles
from xfiles import XFiles
from xfiles.uploads import MAX_MESSAGE_BYTES, Grant, Route, Uploads

client = XFiles()
uploads = Uploads(
    client,
    [os.environ["XFILES_API_KEY"]],
    {
        "photo": Route(
            # A real application looks at begin.headers["cookie"].
            authorize=lambda begin: Grant(visibility="public", owner_user_id="demo"),
            on_confirmed=lambda file, context: {"url": client.files.urls(file["id"])["url"]},
            accept=["image/*", "text/plain"],
            max_bytes=20_000_000,
            max_files=20,
        )
    },
)
app = FastAPI()


@app.api_route("/api/upload", methods=["GET", "POST", "OPTIONS"])
async def upload(request: Request) -> Response:
    # Read no more than the handler accepts; one byte beyond makes it refuse.
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_MESSAGE_BYTES:
            break
    status, headers, answer = await run_in_threadpool(uploads.handle, request.method, request.headers, body)
    return Response(answer, status, headers)


HERE = Path(__file__).parent
app.mount("/sdk", StaticFiles(directory=HERE / "../../sdk/js/dist"))
app.mount("/", StaticFiles(directory=HERE / "../static", html=True))
