"""Sessions: POST and GET /sessions, GET, PATCH and DELETE /sessions/{id}."""

from mangum import Mangum

from hector.web.server import sessions_app
from hector.wiring import load_on_lambda

services = load_on_lambda()
handler = Mangum(
    sessions_app(services),
    lifespan="off",  # otherwise start-up and shut-down run on every invocation
    # What is not named here goes out as base64, and the API has no binary media types that would decode it.
    text_mime_types=["text/", "application/json", "application/problem+json"],
)
