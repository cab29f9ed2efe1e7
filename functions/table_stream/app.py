"""What expired sessions leave behind is erased."""

from hector.events.table_stream import table_stream_handler
from hector.wiring import load_on_lambda
from response_streaming import async_handler

handler = async_handler(table_stream_handler(load_on_lambda()))
