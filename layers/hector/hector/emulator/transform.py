"""What SAM makes of a template: the CloudFormation that AWS would get."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hector.emulator.model import REGION
from hector.errors import ConfigError

PLACE = "emulator"  # the bucket that local folders are said to be in, to keep them out of SAM's way


def read(path: Path) -> dict[str, Any]:
    """A template's content, short intrinsic functions (!Ref) written out. Raises ConfigError."""
    _need_sam()
    from samtranslator.yaml_helper import yaml_parse
    from yaml import YAMLError

    try:
        content = yaml_parse(path.read_text())
    except YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(content, dict) or "Resources" not in content:
        raise ConfigError(f"{path}: this is no template: it has no Resources.")
    return content


def transform(template: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The CloudFormation template. Code and layers are said to lie at ``s3://emulator/<logical id>``."""
    _need_sam()
    import boto3
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    copy: dict[str, Any] = json.loads(json.dumps(template))
    for name, resource in copy["Resources"].items():
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                resource["Properties"][key] = f"s3://{PLACE}/{name}"
    values = {name: str(value["Default"]) for name, value in copy.get("Parameters", {}).items() if "Default" in value}
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)  # it warns that it sends none
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    try:
        result: dict[str, Any] = translator.translate(copy, {**values, **(parameters or {})})
    except InvalidDocumentException as error:
        raise ConfigError("\n".join(f"template: {cause.message}" for cause in error.causes)) from None
    return result


def _need_sam() -> None:
    try:
        import samtranslator  # noqa: F401
    except ImportError:
        raise ConfigError(
            "hector emulate needs the SAM translator and AWS's runtime client: pip install 'hector-serverless[emulate]'"
        ) from None
