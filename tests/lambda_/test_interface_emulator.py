"""The runtime client under AWS's own Runtime Interface Emulator: it buffers, but it is AWS's own code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hector.emulator.runtime_folder import make_runtime_folder, merge_layers
from tests.engines import need
from tests.lambda_ import built
from tests.lambda_.conftest import TOYS
from tests.lambda_.test_streaming_runtime import PRELUDE_TYPE, v1_event
from tests.processes import free_port


def program() -> Path:
    """It comes with the SAM CLI, for each architecture."""
    folder = Path(built.sam()).resolve().parents[1]
    found = list(folder.glob(f"lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{built.ARCHITECTURE}"))
    return need(found[0] if found else None, "the SAM CLI brings no Runtime Interface Emulator")


@asynccontextmanager
async def running(handler: str, layer: Path, folder: Path) -> AsyncIterator[tuple[str, list[str]]]:
    """The address that invokes the function, and what the process has printed. It never ends by itself."""
    runtime = make_runtime_folder(folder / "runtime")
    opt = merge_layers([layer], folder / "opt")
    python = Path(sys.base_prefix, "bin", built.RUNTIME)
    port, api = free_port(), free_port()
    command: list[str | Path] = [
        program(),
        "--log-level",
        "error",
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
    ]
    command += ["--runtime-api-address", f"127.0.0.1:{api}"]
    bootstrap = folder / "bootstrap"  # as a runtime's: it starts what AWS_LAMBDA_EXEC_WRAPPER names
    bootstrap.write_text(f"#!/bin/sh\nexec {opt}/response-streaming {python} -S {runtime}/bootstrap.py\n")
    bootstrap.chmod(0o755)
    command += [bootstrap, handler]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=TOYS,
        env={
            "PATH": os.environ["PATH"],
            "LAMBDA_TASK_ROOT": str(TOYS),
            "LAMBDA_RUNTIME_DIR": str(runtime),
            "EMULATOR_OPT": str(opt),
            "_HANDLER": handler,
            "AWS_LAMBDA_FUNCTION_NAME": "Toy",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "20",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    printed: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            printed.append(line.decode(errors="replace").rstrip())

    reading = asyncio.create_task(read())
    try:
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations", printed
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await reading


async def invoke(url: str, event: dict[str, object]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as http:
        for _ in range(100):
            try:
                return await http.post(url, json=event)
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
    raise TimeoutError(url)


async def test_a_stream_is_taken_by_awss_own_code(source_layer: Path, tmp_path: Path) -> None:
    async with running("toy.echo_handler", source_layer, tmp_path) as (url, printed):
        for text in ("first", "second"):
            answer = await invoke(url, v1_event("/a b", body=text))
            assert answer.status_code == 200, printed
            prelude, delimiter, body = answer.content.partition(bytes(8))
            assert delimiter, answer.content[:200]
            assert json.loads(prelude)["statusCode"] == 201
            assert json.loads(body)["body"] == text
        assert PRELUDE_TYPE.startswith("application/vnd.awslambda")


async def test_every_chunk_is_there(source_layer: Path, tmp_path: Path) -> None:
    async with running("toy.ticks_handler", source_layer, tmp_path) as (url, printed):
        answer = await invoke(url, v1_event("/"))
        body = answer.content.partition(bytes(8))[2]
        assert body == b"".join(b"data: %d\n\n" % number for number in range(6)), printed


@pytest.mark.parametrize("handler", ["toy.plain", "toy.early_failure_handler"])
async def test_whole_answers_and_failures(handler: str, source_layer: Path, tmp_path: Path) -> None:
    async with running(handler, source_layer, tmp_path) as (url, _):
        answer = (await invoke(url, v1_event("/"))).json()
        if handler == "toy.plain":
            assert json.loads(answer["body"])["plain"] is True
        else:
            assert answer["errorType"] == "ConnectionError"
            assert answer["errorMessage"] == "the model's server is down"
