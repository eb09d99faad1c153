"""A real `xf serve --ephemeral`, by XF_BIN or what `cargo build` makes."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[3]


def vectors(name: str) -> Any:
    return json.loads((ROOT / "sdk/vectors" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, Any]]:
    candidates = [os.environ.get("XF_BIN"), ROOT / "target/debug/xf", ROOT / "target/release/xf"]
    binary = next((str(path) for path in candidates if path and pathlib.Path(path).exists()), None)
    assert binary, "there is no xf: set XF_BIN, or run `cargo build --bin xf`"
    with tempfile.TemporaryDirectory() as folder:
        ready = pathlib.Path(folder, "ready.json")
        listen = ["--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--metrics-listen", "off"]
        command = [binary, "serve", "--ephemeral", *listen, "--ready-file", str(ready)]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                while not (ready.exists() and ready.read_text().strip().endswith("}")):
                    assert process.poll() is None, "xf serve ended"
                    time.sleep(0.05)
                yield json.loads(ready.read_text())
            finally:
                process.terminate()
