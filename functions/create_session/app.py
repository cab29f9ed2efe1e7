"""Sessions: POST and GET /sessions, GET and DELETE /sessions/{id}."""

import os
from pathlib import Path

from mangum import Mangum

import hector
from hector.web.server import sessions_app
from hector.wiring import load

# The project's hector.yaml lies in the root of the layer that carries the package; without one the defaults apply.
layer_config = Path(hector.__file__).parents[2] / "hector.yaml"
if layer_config.exists():
    os.environ.setdefault("HECTOR_CONFIG", str(layer_config))

services = load()
services.store.open()
handler = Mangum(
    sessions_app(services),
    lifespan="off",  # otherwise start-up and shut-down run on every invocation
    # What is not named here goes out as base64, and the API has no binary media types that would decode it.
    text_mime_types=["text/", "application/json", "application/problem+json"],
)
