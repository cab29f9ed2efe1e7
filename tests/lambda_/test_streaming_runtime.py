"""The runtime client: ASGI applications in real processes, under a Runtime API, behind a streaming front door."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import signal
import time

import httpx
import pytest

from hector.emulator import Emulator
from tests.lambda_.conftest import StartToy

PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"


def log_of(emulator: Emulator) -> str:
    return "\n".join(line for instance in emulator.pool.instances for line in instance.log)


async def settle(emulator: Emulator, text: str, seconds: float = 5) -> str:
    """The functions' output, once it contains `text`."""
    deadline = time.monotonic() + seconds
    while text not in log_of(emulator) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return log_of(emulator)


async def test_chunks_arrive_when_they_are_made(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("ticks")
    await http.get(f"{aws.url}/warm")
    times, texts = [], []
    async with http.stream("GET", f"{aws.url}/ticks") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        began = time.monotonic()
        async for text in answer.aiter_text():
            times.append(time.monotonic() - began)
            texts.append(text)
    assert texts == [f"data: {number}\n\n" for number in range(6)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert sum(gap > 0.1 for gap in gaps) >= 4, gaps  # a busy machine may delay one and so shorten the next
    assert times[-1] - times[0] > 0.9


async def test_the_contract_of_a_streamed_answer(toy: StartToy) -> None:
    aws = await toy("echo")
    call = await aws.invoke("Toy", v1_event("/a b", body="hello"))
    raw = await call.read()
    assert call.mode == "streaming"
    assert call.headers["content-type"] == PRELUDE_TYPE
    assert call.headers["transfer-encoding"] == "chunked"
    assert call.headers["lambda-runtime-invocation-id"] == call.invocation_id
    declared = {name.strip() for name in call.headers["trailer"].split(",")}
    assert declared == {"Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"}
    assert call.trailers == {}
    prelude, _, body = raw.partition(bytes(8))
    assert json.loads(prelude) == {
        "statusCode": 201,
        "headers": {"content-type": "application/json"},
        "multiValueHeaders": {"vary": ["accept", "origin"]},
        "cookies": ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"],
    }
    echoed = json.loads(body)
    assert echoed["body"] == "hello"
    assert echoed["spec"] == "2.4"
    assert 0 < echoed["left_ms"] <= 20_000
    assert echoed["trace"].startswith("Root=")


async def test_function_url_events(toy: StartToy) -> None:
    aws = await toy("echo")
    call = await aws.invoke("Toy", _v2_event("/v2", "x=1&x=2"))
    prelude, _, body = (await call.read()).partition(bytes(8))
    assert json.loads(prelude)["headers"]["vary"] == "accept, origin"
    assert "multiValueHeaders" not in json.loads(prelude)
    assert json.loads(body)["query"] == "x=1&x=2"
    assert json.loads(body)["headers"]["cookie"] == "k=v; l=w"


async def test_repeated_headers_and_cookies_reach_the_client(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("echo")
    answer = await http.post(f"{aws.url}/x?q=%C3%BC&q=2", content=b"\xff\xfe\x00")
    assert answer.status_code == 201
    assert answer.headers.get_list("vary") == ["accept", "origin"]
    assert [cookie.split(";")[0] for cookie in answer.headers.get_list("set-cookie")] == ["a=1", "b=2"]
    assert answer.json()["body"].encode("latin-1") == b"\xff\xfe\x00"
    assert answer.json()["query"] == "q=%C3%BC&q=2"


@pytest.mark.parametrize(
    ("handler", "status", "body"), [("empty", 204, b""), ("binary", 200, bytes(range(256)) + bytes(16))]
)
async def test_bodies(toy: StartToy, http: httpx.AsyncClient, handler: str, status: int, body: bytes) -> None:
    aws = await toy(handler)
    answer = await http.get(f"{aws.url}/")
    assert (answer.status_code, answer.content) == (status, body)


async def test_failure_before_the_first_byte_is_a_failed_invocation(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("early_failure")
    assert (await http.get(f"{aws.url}/")).status_code == 502
    call = aws.invocations[0]
    assert call.mode is None
    assert call.error is not None
    assert call.error["errorType"] == "ConnectionError"
    assert call.error["errorMessage"] == "the model's server is down"
    assert any("early_failure" in frame for frame in call.error["stackTrace"])
    assert "lambda-runtime-function-xray-error-cause" in call.headers
    assert "[ERROR] ConnectionError" in await settle(aws, "[ERROR]")
    await aws.idle()
    assert (await http.get(f"{aws.url}/")).status_code == 502
    assert len({call.pid for call in aws.invocations}) == 1, "the process went on"


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("late_failure", "ConnectionResetError", "the model's server went away"),
        ("late_return", "IncompleteResponse", "The application returned in mid-answer."),
    ],
)
async def test_failure_in_mid_stream_comes_as_trailers(toy: StartToy, handler: str, kind: str, message: str) -> None:
    aws = await toy(handler)
    for _ in range(2):
        call = await aws.invoke("Toy", v1_event("/"))
        assert (await call.read()).endswith(b"data: one\n\n")
        assert call.trailers["lambda-runtime-function-error-type"] == f"Function.{kind}"
        report = json.loads(base64.b64decode(call.trailers["lambda-runtime-function-error-body"]))
        assert (report["errorType"], report["errorMessage"]) == (kind, message)
        await aws.idle()
    assert len({call.pid for call in aws.invocations}) == 1, "an upstream's ConnectionError is no lost Runtime API"
    assert "failed while its answer was streamed" in await settle(aws, kind)


async def test_failure_in_mid_stream_is_a_cut_answer_for_the_client(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("late_failure")
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(f"{aws.url}/")


async def test_failure_after_the_answer_is_only_logged(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("failure_after_the_end")
    answer = await http.get(f"{aws.url}/")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert "told after the answer was complete" in await settle(aws, "told after")
    assert aws.invocations[0].trailers == {}


async def test_an_application_that_says_nothing(toy: StartToy) -> None:
    aws = await toy("no_answer")
    call = await aws.invoke("Toy", v1_event("/"))
    assert call.error is not None
    assert call.error["errorMessage"] == "The application returned without a response body."


async def test_a_prelude_beyond_16_kb_is_refused_with_the_culprit(toy: StartToy) -> None:
    aws = await toy("huge_head")
    call = await aws.invoke("Toy", v1_event("/"))
    assert call.error is not None
    assert call.error["errorType"] == "PreludeTooLarge"
    assert "'x-huge'" in call.error["errorMessage"]


async def test_an_import_failure_is_an_init_error_and_ends_the_process(toy: StartToy) -> None:
    aws = await toy("broken.handler")
    call = await aws.invoke("Toy", v1_event("/"))
    assert call.error is not None
    assert call.error["errorType"] == "RuntimeError"
    assert call.error["errorMessage"] == "no configuration"
    instance = aws.pool.instances[0]
    await asyncio.wait_for(instance._process.wait(), 5)
    assert instance._process.returncode == 1


async def test_an_event_that_is_no_request(toy: StartToy) -> None:
    aws = await toy("echo")
    call = await aws.invoke("Toy", {"Records": []})
    assert call.error is not None
    assert call.error["errorType"] == "UnsupportedEvent"
    assert "Records" in call.error["errorMessage"]


async def test_no_task_outlives_its_invocation(toy: StartToy) -> None:
    aws = await toy("leaves_a_task")
    await (await aws.invoke("Toy", v1_event("/leave"))).read()
    await aws.idle()
    second = await aws.invoke("Toy", v1_event("/look"))
    assert (await second.read()).partition(bytes(8))[2] == b"[]", "the task ran inside the next invocation"
    assert len({call.pid for call in aws.invocations}) == 1
    log = await settle(aws, "left behind")
    assert "straggler (leaves_a_task.<locals>.straggler)" in log
    assert aws.invocations[0].request_id in next(line for line in log.splitlines() if "straggler" in line)


async def test_a_task_that_cannot_be_cancelled_ends_the_process(toy: StartToy) -> None:
    aws = await toy("stubborn_task")
    assert (await (await aws.invoke("Toy", v1_event("/"))).read()).endswith(b"done")
    await asyncio.wait_for(aws.pool.instances[0]._process.wait(), 10)
    assert "these tasks ignore cancellation: stubborn" in await settle(aws, "ignore cancellation")
    assert (await (await aws.invoke("Toy", v1_event("/"))).read()).endswith(b"done")
    assert aws.invocations[0].pid != aws.invocations[1].pid


async def test_it_ends_while_there_is_time_to_say_so(toy: StartToy) -> None:
    aws = await toy("stubborn_task", timeout=3)
    assert (await (await aws.invoke("Toy", v1_event("/"))).read()).endswith(b"done")
    await asyncio.wait_for(aws.pool.instances[0]._process.wait(), 10)
    log = await settle(aws, "ignore cancellation")
    assert "these tasks ignore cancellation: stubborn" in log
    assert "timed out" not in log


async def test_disconnect_is_reported_after_the_answer_and_not_before(toy: StartToy) -> None:
    aws = await toy("listens")
    call = await aws.invoke("Toy", v1_event("/", body="x"))
    assert (await call.read()).endswith(b"one quiet")
    assert "then http.disconnect" in await settle(aws, "then")


async def test_work_after_the_answer_does_not_hold_the_answer_back(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("works_after_the_end")
    await http.get(f"{aws.url}/warm")
    await aws.idle()
    began = time.monotonic()
    assert (await http.get(f"{aws.url}/")).text == "answer"
    assert time.monotonic() - began < 1.7
    assert "left behind" not in await settle(aws, "drained")


async def test_a_client_that_goes_away_is_not_noticed_by_the_function(toy: StartToy) -> None:
    aws = await toy("ticks")
    async with httpx.AsyncClient() as client, client.stream("GET", f"{aws.url}/") as answer:
        async for _ in answer.aiter_bytes():
            break
    call = aws.invocations[0]
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.content.endswith(b"data: 5\n\n")
    assert not call.trailers
    assert not call.cut


async def test_a_slow_reader_slows_the_application_down(toy: StartToy) -> None:
    aws = await toy("flood")
    call = await aws.invoke("Toy", v1_event("/"))
    await asyncio.sleep(1)
    sent = log_of(aws).count("sent ")
    # What may be under way: 16 pieces here, and the sockets' and transports' buffers (a few MB on loopback).
    assert sent < 200, "the application was not held back"
    await asyncio.sleep(0.5)
    assert log_of(aws).count("sent ") == sent
    assert len((await call.read()).partition(bytes(8))[2]) == 16 * 1024 * 1024


async def test_a_lost_runtime_api_is_an_oserror_for_the_application_and_ends_the_process(toy: StartToy) -> None:
    aws = await toy("sends_for_long")
    call = await aws.invoke("Toy", v1_event("/"))
    instance = aws.pool.instances[0]
    instance._server.close()
    for task in list(instance._tasks):
        if "_serve" in repr(task):
            task.cancel()
    status = await asyncio.wait_for(instance._process.wait(), 10)
    log = await settle(aws, "RuntimeApiError")
    assert "lost: ResponseLost" in log
    assert "then http.disconnect" in log
    assert "RuntimeApiError: The connection to the Runtime API was lost" in log
    assert status != 0
    await asyncio.wait_for(call.ended.wait(), 5)
    assert call.cut


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_killed_process_cuts_the_stream(toy: StartToy, http: httpx.AsyncClient, number: int) -> None:
    aws = await toy("ticks")
    received = b""

    async def read() -> None:
        nonlocal received
        async with http.stream("GET", f"{aws.url}/") as answer:
            async for piece in answer.aiter_bytes():
                received += piece
                aws.instances("Toy")[0].kill(number)

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    assert received.startswith(b"data: 0")
    assert aws.invocations[0].cut
    assert (await http.get(f"{aws.url}/")).text.count("data:") == 6, "the next request gets a new process"


async def test_concurrent_requests_get_processes_of_their_own(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("ticks")
    answers = await asyncio.gather(*(http.get(f"{aws.url}/{number}") for number in range(2)))
    assert [answer.text.count("data:") for answer in answers] == [6, 6]
    assert len({call.pid for call in aws.invocations}) == 2


async def test_the_function_timeout_cuts_the_stream(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("ticks", timeout=0.5)
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(f"{aws.url}/")
    assert aws.invocations[0].error is not None
    assert aws.invocations[0].error["errorType"] == "Sandbox.Timedout"


async def test_the_routes_timeout(toy: StartToy, http: httpx.AsyncClient) -> None:
    silent = await toy("slow_start", route_timeout=1)
    assert (await http.get(f"{silent.url}/")).status_code == 504
    talking = await toy("ticks", route_timeout=1.0)
    await (await talking.invoke("Toy", v1_event("/warm"))).read()
    await talking.idle()
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(f"{talking.url}/")


async def test_ordinary_handlers_work_unchanged_under_the_wrapper(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("toy.plain", streams=False)
    answer = await http.get(f"{aws.url}/")
    assert answer.json()["plain"] is True
    assert aws.invocations[0].mode == "buffered"


async def test_a_plain_answer_on_a_streaming_route_is_refused(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("toy.plain")
    assert (await http.get(f"{aws.url}/")).status_code == 500


async def test_a_streamed_answer_on_a_buffered_route_is_refused(toy: StartToy, http: httpx.AsyncClient) -> None:
    aws = await toy("echo", streams=False)
    assert (await http.get(f"{aws.url}/")).status_code == 502


async def test_ordinary_failures_work_unchanged_under_the_wrapper(toy: StartToy) -> None:
    aws = await toy("toy.plain_failure")
    call = await aws.invoke("Toy", {})
    assert call.error is not None
    assert call.error["errorType"] == "ValueError"


@pytest.mark.parametrize(
    ("wrapper", "environment"), [(True, {"AWS_SAM_LOCAL": "true"}), (False, None)], ids=["sam local", "no wrapper"]
)
async def test_without_streaming_it_is_an_ordinary_proxy_answer(
    toy: StartToy, http: httpx.AsyncClient, wrapper: bool, environment: dict[str, str] | None
) -> None:
    aws = await toy("echo", wrapper=wrapper, streams=False, environment=environment)
    answer = await http.post(f"{aws.url}/x", content=b"hi")
    assert answer.status_code == 201
    assert answer.json()["body"] == "hi"
    assert answer.headers.get_list("vary") == ["accept", "origin"]
    assert len(answer.headers.get_list("set-cookie")) == 2
    assert aws.invocations[0].mode == "buffered"
    assert ("Buffering the answer" in log_of(aws)) is not wrapper


async def test_without_streaming_binary_is_base64_and_a_late_failure_fails_whole(
    toy: StartToy, http: httpx.AsyncClient
) -> None:
    local = {"AWS_SAM_LOCAL": "true"}
    binary = await toy("binary", streams=False, environment=local)
    content = bytes(range(256)) + bytes(16)
    assert (await http.get(f"{binary.url}/")).content == content
    text_only = await toy("binary", streams=False, environment=local, binary=())
    assert (await http.get(f"{text_only.url}/")).content == base64.b64encode(content), "what API Gateway makes of it"
    failing = await toy("late_failure", streams=False, environment=local)
    assert (await http.get(f"{failing.url}/")).status_code == 502
    assert failing.invocations[0].error is not None
    assert failing.invocations[0].error["errorType"] == "ConnectionResetError"


def v1_event(path: str, body: str | None = None) -> dict[str, object]:
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "POST",
        "headers": {"Host": "example.org", "X-Forwarded-Proto": "https"},
        "multiValueHeaders": {"Host": ["example.org"], "X-Forwarded-Proto": ["https"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "stage": "Prod"},
        "body": body,
        "isBase64Encoded": False,
    }


def _v2_event(path: str, query: str) -> dict[str, object]:
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "cookies": ["k=v", "l=w"],
        "headers": {"host": "example.org"},
        "requestContext": {"http": {"method": "POST", "path": path, "sourceIp": "192.0.2.1"}, "stage": "$default"},
        "isBase64Encoded": False,
    }
