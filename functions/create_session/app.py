"""Sessions: POST and GET /sessions, GET, PATCH and DELETE /sessions/{id}."""

import gc

# What is loaded at start-up is no garbage: looking for some takes a tenth of the time.
gc.disable()

from mangum import Mangum  # noqa: E402

from hector.web.server import sessions_app  # noqa: E402
from hector.wiring import load_on_lambda  # noqa: E402
from response_streaming.rest import RestApi  # noqa: E402

services = load_on_lambda()
handler = Mangum(
    sessions_app(services),
    lifespan="off",  # otherwise start-up and shut-down run on every invocation
    custom_handlers=[RestApi],  # the others know custom domains only with one base path, and that configured
    # What is not named here goes out as base64, and the API has no binary media types that would decode it.
    text_mime_types=["text/", "application/json", "application/problem+json"],
)

gc.freeze()
gc.enable()
