"""Every route that answers with Server-Sent Events."""

import os
from pathlib import Path

import hector
from hector.web.apps import stream_app
from hector.wiring import load
from response_streaming import asgi_handler

# The project's hector.yaml lies in the root of the layer that carries the package; without one the defaults apply.
layer_config = Path(hector.__file__).parents[2] / "hector.yaml"
if layer_config.exists():
    os.environ.setdefault("HECTOR_CONFIG", str(layer_config))

services = load()
services.store.open()
handler = asgi_handler(stream_app(services))
