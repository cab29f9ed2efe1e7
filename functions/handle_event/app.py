"""Turns of the work queue, and the sweep."""

from hector.events.handle import event_handler
from hector.wiring import load_on_lambda
from response_streaming import async_handler

handler = async_handler(event_handler(load_on_lambda()))
