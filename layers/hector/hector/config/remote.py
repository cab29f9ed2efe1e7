"""hector.yaml from where a deployed function can reach it: `s3://bucket/key`, or `ssm://name` (Parameter Store)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hector.errors import ConfigError

if TYPE_CHECKING:
    from botocore.client import BaseClient

_WHY = {
    "NoSuchKey": "there is no such object",
    "NoSuchBucket": "there is no such bucket",
    "ParameterNotFound": "there is no such parameter in this region",
    "AccessDenied": "access is denied; the function's role needs {need} on it",
    "AccessDeniedException": "access is denied; the function's role needs {need} on it",
}


def read_remote(location: str) -> str:
    """The text that is there. Raises ConfigError, which names the location and what to do."""
    scheme, _, path = location.partition("://")
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ConfigError(f"{location}: reading this needs botocore: pip install 'hector-serverless[lambda]'") from None
    need = {"s3": "s3:GetObject", "ssm": "ssm:GetParameter"}[scheme]
    try:
        client = botocore.session.get_session().create_client(scheme)
        content = _object(client, location, path) if scheme == "s3" else _parameter(client, location, path)
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{location}: this is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        why = _WHY.get(code, str(error)).format(need=need)
        raise ConfigError(f"{location}: cannot read the configuration: {why}") from None
    except BotoCoreError as error:
        raise ConfigError(f"{location}: cannot read the configuration: {error}") from None


def _object(client: BaseClient, location: str, path: str) -> bytes:
    bucket, _, key = path.partition("/")
    if not bucket or not key:
        raise ConfigError(f"{location} is not of the form s3://bucket/key")
    content: bytes = _call(client, "get_object", Bucket=bucket, Key=unquote(key))["Body"].read()
    return content


def _parameter(client: BaseClient, location: str, name: str) -> bytes:
    if not name.strip("/"):
        raise ConfigError(f"{location} is not of the form ssm://name")
    value: str = _call(client, "get_parameter", Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value.encode()


def _call(client: BaseClient, operation: str, **parameters: Any) -> Any:
    return getattr(client, operation)(**parameters)
