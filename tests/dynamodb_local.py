"""DynamoDB Local, Amazon's own, on a free port of this machine for as long as the tests run."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.engines import need
from tests.processes import free_port

ROOT = Path(__file__).parents[1]
START_SECONDS = 30


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The endpoint's URL."""
    java = need(shutil.which("java"), "DynamoDB Local needs java")
    folder = need(_folder(), "DynamoDB Local is not set up: scripts/dynamodb_local.sh")
    port = free_port()
    libraries = f"-Djava.library.path={folder / 'DynamoDBLocal_lib'}"
    command = [java, libraries, "-jar", str(folder / "DynamoDBLocal.jar"), "-inMemory", "-port", str(port)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, url := f"http://127.0.0.1:{port}")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _folder() -> Path | None:
    folder = ROOT / ".tools" / "dynamodb-local"
    if not (folder / "DynamoDBLocal.jar").exists():
        script = [str(ROOT / "scripts" / "dynamodb_local.sh")]
        if shutil.which("npm") is None or subprocess.run(script, capture_output=True, check=False).returncode:
            return None
    return folder


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError("DynamoDB Local did not start") from None
            time.sleep(0.05)
        else:
            return
