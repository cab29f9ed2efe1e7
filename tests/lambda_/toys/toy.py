"""Small ASGI applications that do to the runtime what real ones do on bad days; each is a handler of its own."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import asyncio
import json
import os

from response_streaming import asgi_handler

left_behind: list[str] = []
seen: list[object] = []


async def start(send, status=200, headers=((b"content-type", b"text/event-stream"),)):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send, data=b"", more=True):
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def read_body(receive):
    found = b""
    while True:
        message = await receive()
        found += message.get("body", b"")
        if not message.get("more_body"):
            return found


async def ticks(scope, receive, send):
    """Six chunks, 0.2 s apart."""
    await start(send)
    for number in range(6):
        await body(send, b"data: %d\n\n" % number)
        await asyncio.sleep(0.2)
    await body(send, more=False)


async def pauses(scope, receive, send):
    """A chunk, 1.5 s of silence, another chunk."""
    await start(send)
    await body(send, b"data: before\n\n")
    await asyncio.sleep(1.5)
    await body(send, b"data: after\n\n", more=False)


async def slow_start(scope, receive, send):
    await asyncio.sleep(2)
    await start(send)
    await body(send, b"late", more=False)


async def echo(scope, receive, send):
    """What arrived, as JSON; repeated headers and cookies in the answer."""
    content = await read_body(receive)
    left = scope["aws.context"].get_remaining_time_in_millis()
    answer = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "spec": scope["asgi"]["spec_version"],
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
        "body": content.decode("latin-1"),
        "left_ms": left,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "resource": scope["aws.event"].get("resource"),
        "python": os.environ.get("AWS_EXECUTION_ENV"),
    }
    headers = [
        (b"content-type", b"application/json"),
        (b"connection", b"keep-alive"),
        (b"vary", b"accept"),
        (b"vary", b"origin"),
        (b"set-cookie", b"a=1; Path=/"),
        (b"set-cookie", b"b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
    ]
    await start(send, 201, headers)
    await body(send, json.dumps(answer).encode(), more=False)


async def remapped(scope, receive, send):
    """Headers that a REST API renames."""
    await start(send, 401, [(b"www-authenticate", b"Basic"), (b"server", b"toy"), (b"x-own", b"kept")])
    await body(send, b"no", more=False)


async def empty(scope, receive, send):
    await start(send, 204, [])
    await body(send, more=False)


async def binary(scope, receive, send):
    await start(send, headers=[(b"content-type", b"image/png")])
    await body(send, bytes(range(256)))
    await body(send, bytes(16), more=False)


async def early_failure(scope, receive, send):
    await start(send)
    raise ConnectionError("the model's server is down")


async def late_failure(scope, receive, send):
    await start(send)
    await body(send, b"data: one\n\n")
    await asyncio.sleep(0.05)
    raise ConnectionResetError("the model's server went away")


async def late_return(scope, receive, send):
    await start(send)
    await body(send, b"data: one\n\n")


async def no_answer(scope, receive, send):
    """Returns without a word."""


async def failure_after_the_end(scope, receive, send):
    await start(send, 500)
    await body(send, b"Internal Server Error", more=False)
    raise RuntimeError("told after the answer was complete")


async def huge_head(scope, receive, send):
    await start(send, headers=[(b"x-small", b"1"), (b"x-huge", b"h" * 17_000)])
    await body(send, b"never", more=False)


async def leaves_a_task(scope, receive, send):
    """The first invocation leaves a task that would write into `left_behind` during the second."""
    before = list(left_behind)

    async def straggler():
        await asyncio.sleep(0.3)
        left_behind.append("ran on")

    if scope["path"] == "/leave":
        seen.append(asyncio.create_task(straggler(), name="straggler"))
    else:
        await asyncio.sleep(0.6)
    await start(send, headers=[])
    await body(send, json.dumps(before + left_behind).encode(), more=False)


async def stubborn_task(scope, receive, send):
    """Leaves a task that refuses to be cancelled."""

    async def stubborn():
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    seen.append(asyncio.create_task(stubborn(), name="stubborn"))
    await start(send, headers=[])
    await body(send, b"done", more=False)
    await asyncio.sleep(0.1)


async def listens(scope, receive, send):
    """Watches for the disconnect, which must come after the answer and not before."""
    await read_body(receive)
    watcher = asyncio.ensure_future(receive())
    await start(send, headers=[])
    await body(send, b"one ")
    await asyncio.sleep(0.1)
    early = watcher.done()
    await body(send, b"early" if early else b"quiet", more=False)
    print("then", (await watcher)["type"], flush=True)


async def works_after_the_end(scope, receive, send):
    """Goes on for 2 s after the answer is complete, as a producer that drains does."""
    await start(send, headers=[])
    await body(send, b"answer", more=False)
    await asyncio.sleep(2)
    print("drained", flush=True)


async def flood(scope, receive, send):
    """16 MB in pieces of 64 KB, and how far it got, on stdout."""
    await start(send, headers=[])
    for number in range(256):
        await body(send, bytes(65536))
        print("sent", number, flush=True)
    await body(send, more=False)


async def sends_for_long(scope, receive, send):
    """Sends until the way out is lost, and says how that looked."""
    await start(send, headers=[])
    try:
        while True:
            await body(send, b"x" * 1000)
            await asyncio.sleep(0.02)
    except OSError as error:
        print("lost:", type(error).__name__, flush=True)
        message = await receive()
        while message["type"] == "http.request":
            message = await receive()
        print("then", message["type"], flush=True)
        raise


for _name in [name for name, value in list(globals().items()) if asyncio.iscoroutinefunction(value)]:
    globals()[f"{_name}_handler"] = asgi_handler(globals()[_name])


def plain(event, context):
    """An ordinary handler under the wrapper."""
    return {"statusCode": 200, "body": json.dumps({"plain": True, "id": context.aws_request_id})}


def plain_failure(event, context):
    raise ValueError("no such thing")
