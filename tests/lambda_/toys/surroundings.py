"""A function that says what its process was given."""

# mypy: disable-error-code="no-untyped-def"

import json
import os


def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(dict(os.environ))}
