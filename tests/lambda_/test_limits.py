"""AWS's limits: what would fail there fails here, and the documentation names each with its page."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields, replace
from pathlib import Path

import httpx
import pytest

from hector.emulator import Function, Limits
from hector.emulator.checks import check_function, check_path, check_siblings
from hector.emulator.invocation import TOO_LARGE
from hector.errors import ConfigError
from tests.lambda_ import built
from tests.lambda_.conftest import TOYS, StartToy

FUNCTION = Function("Toy", TOYS, "toy.echo_handler")
LIMITS = [one.name for one in fields(Limits)]


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_documented_and_tested(name: str) -> None:
    page = (built.ROOT / "docs" / "emulate.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    assert Limits.page(name) in row
    assert Limits.page(name).startswith("https://docs.aws.amazon.com/")
    assert Limits.breach(name) in row
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert f"{name}=" in tests, "a test that makes it smaller"


async def cut(http: httpx.AsyncClient, url: str) -> bytes:
    """What came before the stream was cut."""
    received = b""

    async def read() -> None:
        nonlocal received
        async with http.stream("GET", url) as answer:
            async for piece in answer.aiter_bytes():
                received += piece

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    return received


@pytest.mark.parametrize(
    ("edge", "limits"),
    [(False, Limits(stream_idle_regional=0.5)), (True, Limits(stream_idle_edge=0.5))],
    ids=["regional", "edge"],
)
async def test_a_silent_stream_is_cut_and_the_function_not_told(
    toy: StartToy, http: httpx.AsyncClient, edge: bool, limits: Limits
) -> None:
    aws = await toy("pauses", edge=edge, limits=limits)
    await aws.pool.warm(1)
    assert await cut(http, aws.url) == b"data: before\n\n"
    call = aws.invocations[0]
    await asyncio.wait_for(call.ended.wait(), 10)
    assert call.content.endswith(b"data: after\n\n")
    assert call.failure is None


async def test_the_other_endpoints_limit_does_not_count(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("pauses", limits=Limits(stream_idle_edge=0.5))
    assert (await http.get(aws.url)).text == "data: before\n\ndata: after\n\n"


async def test_silence_before_the_first_byte_is_a_504(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("slow_start", limits=Limits(stream_idle_regional=0.5))
    await aws.pool.warm(1)
    answer = await http.get(aws.url)
    assert (answer.status_code, answer.json()) == (504, {"message": "Endpoint request timed out"})


async def test_no_stream_is_longer_than_15_minutes_whatever_its_route_says(
    toy: StartToy, http: httpx.AsyncClient
) -> None:
    aws = await toy("ticks", limits=Limits(stream_total=0.6), route_timeout=3600)
    await aws.pool.warm(1)
    received = await cut(http, aws.url)
    assert received.startswith(b"data: 0")
    assert b"data: 5" not in received


async def test_a_buffered_answer_has_29_seconds_whatever_its_route_says(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("slow_start", streams=False, limits=Limits(buffered_timeout=0.5), route_timeout=3600)
    await aws.pool.warm(1)
    assert (await http.get(aws.url)).status_code == 504
    call = aws.invocations[0]
    await asyncio.wait_for(call.ended.wait(), 10)
    assert not call.cut, "the function went on, and was not told"


async def test_the_prelude_has_to_come_first(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("echo", limits=Limits(prelude=40))
    assert (await http.get(aws.url)).status_code == 500


async def test_a_stream_that_is_too_large_is_cut(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("flood", limits=Limits(stream_size=1_000_000))
    assert 0 < len(await cut(http, aws.url)) <= 1_000_000
    failure = aws.invocations[0].failure
    assert failure is not None
    assert failure["errorType"] == TOO_LARGE


async def test_a_large_stream_is_slowed_down(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("binary", limits=Limits(stream_uncapped=0, stream_rate=300))  # it has 272 bytes, and a prelude
    await aws.pool.warm(1)
    began = time.monotonic()
    assert len((await http.get(aws.url)).content) == 272
    assert time.monotonic() - began > 0.9


async def test_a_request_that_is_too_large_for_the_gateway(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("echo", limits=Limits(gateway_payload=1000))
    answer = await http.post(aws.url, content=b"x" * 1001)
    assert (answer.status_code, answer.json()["message"]) == (413, "HTTP content length exceeded 1000 bytes.")
    assert aws.invocations == []
    assert (await http.post(aws.url, content=b"x" * 1000)).status_code == 201


async def test_headers_that_are_too_large_for_the_gateway(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("echo", limits=Limits(gateway_headers=5000))
    assert (await http.get(aws.url, headers={"X-Large": "x" * 5000})).status_code == 413
    assert (await http.get(aws.url, headers={"X-Large": "x" * 4000})).status_code == 201


async def test_a_request_that_is_too_large_for_lambda(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("echo", limits=Limits(request=5000))
    assert (await http.post(aws.url, content=b"x" * 6000)).json() == {"message": "Request Too Long"}
    assert aws.invocations == []


async def test_a_buffered_answer_that_is_too_large_for_lambda(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("toy.plain", streams=False, limits=Limits(response=20))
    assert (await http.get(aws.url)).status_code == 502
    error = aws.invocations[0].error
    assert error is not None
    assert error["errorType"] == TOO_LARGE
    assert error["errorMessage"] == "Response payload size exceeded maximum allowed payload size (20 bytes)."


async def test_the_real_limit_of_a_request(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("empty", binary=())
    assert (await http.post(aws.url, content=b"x" * (6 * 1024 * 1024))).status_code == 413
    assert (await http.post(aws.url, content=b"x" * (6 * 1024 * 1024 - 5000))).status_code == 204


async def test_no_more_processes_than_reserved(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("ticks", concurrency=1)
    first = asyncio.create_task(http.get(aws.url))
    while not aws.invocations:
        await asyncio.sleep(0.01)
    assert (await http.get(aws.url)).status_code == 500
    assert (await first).text.count("data:") == 6


async def test_cold_and_warm(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("empty", cold=True)
    for _ in range(2):
        assert (await http.get(aws.url)).status_code == 204
    assert [call.cold for call in aws.invocations] == [True, True]
    assert aws.invocations[0].pid != aws.invocations[1].pid
    warm = await toy("empty", warm=2)
    assert len(warm.instances("Toy")) == 2
    for _ in range(2):
        assert (await http.get(warm.url)).status_code == 204
        await warm.idle()
    assert len(warm.instances("Toy")) == 2, "an idle process is used again"


async def test_headers_that_a_rest_api_renames(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("remapped")
    answer = await http.get(aws.url)
    assert answer.headers["x-amzn-remapped-www-authenticate"] == "Basic"
    assert answer.headers["x-amzn-remapped-server"] == "toy"
    assert answer.headers["x-own"] == "kept"
    assert not {"www-authenticate", "server"} & set(answer.headers)


async def test_a_query_has_to_be_encoded(toy: StartToy) -> None:
    aws = await toy("echo")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(aws.url.rsplit(":", 1)[1]))
    writer.write(b"GET /?a={b} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()


@pytest.mark.parametrize(
    ("function", "limits", "reason"),
    [
        (replace(FUNCTION, timeout=901), Limits(function_timeout=900), "has a timeout of 901 s"),
        (replace(FUNCTION, environment={"A": "x" * 100}), Limits(environment=100), "take 101 bytes"),
        (replace(FUNCTION, layers=(TOYS,) * 3), Limits(layers=2), "has 3 layers"),
        (FUNCTION, Limits(package=1000), "and its layers take"),
        (replace(FUNCTION, environment={"AWS_REGION": "x"}), Limits(), "AWS_REGION is Lambda's own"),
    ],
)
def test_what_lambda_would_not_deploy(function: Function, limits: Limits, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        check_function(function, limits)
    assert "https://docs.aws.amazon.com/" in refused.value.message


@pytest.mark.parametrize("path", ["/", "/a/b_c.d:e-f", "/a/{id}/b", "/a/{proxy+}"])
def test_paths_that_can_be_deployed(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize("path", ["/a/{id}:cancel", "/a/{proxy+}/b", "/a/b c", "/a/{id", "/x@y"])
def test_paths_that_cannot_be_deployed(path: str) -> None:
    with pytest.raises(ConfigError, match="API Gateway refuses the part"):
        check_path(path)


def test_one_place_has_one_name_for_its_parameter() -> None:
    check_siblings(["/a/{id}", "/a/{id}/b", "/b/{other}", "/a/{proxy+}"])
    with pytest.raises(ConfigError, match=r"/a: API Gateway refuses \{id\} and \{name\} side by side"):
        check_siblings(["/a/{id}", "/a/{name}/b"])


def test_a_limit_that_is_no_limit() -> None:
    assert Limits().replaced({"prelude": "10", "stream_total": "0.5"}) == Limits(prelude=10, stream_total=0.5)
    with pytest.raises(ConfigError, match="--limit prelud: no such limit; there are prelude, "):
        Limits().replaced({"prelud": "10"})
    with pytest.raises(ConfigError, match="--limit prelude=ten: 'ten' is not a number like 16384"):
        Limits().replaced({"prelude": "ten"})
