"""What expired sessions leave behind is erased."""

from hector.events.table_stream import table_stream_handler
from hector.wiring import load_on_lambda

handler = table_stream_handler(load_on_lambda())
