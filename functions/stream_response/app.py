"""Every route that answers with Server-Sent Events, and the export of sessions."""

from hector.web.apps import stream_app
from hector.wiring import load_on_lambda
from response_streaming import asgi_handler

services = load_on_lambda()
handler = asgi_handler(stream_app(services))
