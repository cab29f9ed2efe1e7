"""Streamed answers from Python functions on AWS Lambda.

    from response_streaming import asgi_handler

    handler = asgi_handler(app)

Set ``AWS_LAMBDA_EXEC_WRAPPER=/opt/response-streaming`` on the function. See the layer's README.md.
"""

from response_streaming.asgi import asgi_handler

__all__ = ["asgi_handler"]
