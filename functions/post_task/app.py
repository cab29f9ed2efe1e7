"""Turns that answer with one JSON body, tasks, agents, and /health."""

from hector.web.apps import task_app
from hector.wiring import load_on_lambda
from response_streaming import asgi_handler

services = load_on_lambda()
handler = asgi_handler(task_app(services))
