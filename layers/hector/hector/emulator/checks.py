"""What AWS refuses when a stack is deployed, refused before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hector.emulator.limits import MB, Limits
from hector.emulator.model import Function, QueueSettings, QueueSource, TableSource
from hector.errors import ConfigError

_DOCS = "https://docs.aws.amazon.com/"
PATHS = _DOCS + "apigateway/latest/developerguide/api-gateway-method-settings-method-request.html"
MAPPINGS = _DOCS + "lambda/latest/dg/services-sqs-configure.html"
RESERVED = _DOCS + "lambda/latest/dg/configuration-envvars.html"

_PART = re.compile(r"[A-Za-z0-9._:-]+|\{[A-Za-z0-9._-]+\}")
_LAST = re.compile(r"\{[A-Za-z0-9._-]+\+\}")
_RESERVED = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "_HANDLER"}


def check_path(path: str) -> None:
    """Each part of a resource's path is plain or one whole {parameter}; {greedy+} ends it. Raises ConfigError."""
    *inner, last = path.strip("/").split("/")
    for part in inner:
        if not _PART.fullmatch(part):
            raise ConfigError(
                f"{path}: API Gateway refuses the part {part!r}: plain, or one whole {{parameter}}. {PATHS}"
            )
    if last and not _PART.fullmatch(last) and not _LAST.fullmatch(last):
        raise ConfigError(f"{path}: API Gateway refuses the part {last!r}: plain, or one whole {{parameter}}. {PATHS}")


def check_siblings(paths: Iterable[str]) -> None:
    """Parameters at one place of the tree have one name. Raises ConfigError."""
    names: dict[str, str] = {}
    for path in paths:
        parts = path.strip("/").split("/")
        for depth, part in enumerate(parts):
            if part.startswith("{") and not part.endswith("+}"):
                above = "/".join(parts[:depth])
                if names.setdefault(above, part) != part:
                    raise ConfigError(f"/{above}: API Gateway refuses {names[above]} and {part} side by side. {PATHS}")


def check_function(function: Function, limits: Limits) -> None:
    """Timeout, environment, layers and size are what Lambda takes. Raises ConfigError."""
    if function.timeout > limits.function_timeout:
        raise ConfigError(limits.say("function_timeout", f"{function.name} has a timeout of {function.timeout:g} s"))
    if reserved := _RESERVED & function.environment.keys():
        raise ConfigError(f"{function.name}: {min(reserved)} is Lambda's own and cannot be set. {RESERVED}")
    taken = sum(len(name.encode()) + len(value.encode()) for name, value in function.environment.items())
    if taken > limits.environment:
        raise ConfigError(limits.say("environment", f"the variables of {function.name} take {taken} bytes"))
    if len(function.layers) > limits.layers:
        raise ConfigError(limits.say("layers", f"{function.name} has {len(function.layers)} layers"))
    size = sum(_size(folder) for folder in (function.code, *function.layers))
    if size > limits.package:
        raise ConfigError(limits.say("package", f"{function.name} and its layers take {size / MB:.1f} MB"))


def check_mapping(
    source: QueueSource | TableSource, functions: Mapping[str, Function], queues: Mapping[str, QueueSettings]
) -> None:
    """A mapping leads to a function, and its queue hides messages for as long as that may take. Raises ConfigError."""
    function = functions.get(source.function)
    if function is None:
        raise ConfigError(f"An event source leads to {source.function}, which is no function of this template.")
    if isinstance(source, QueueSource):
        queue = queues.get(source.queue)
        if queue is None:
            raise ConfigError(f"{source.function} gets messages of {source.queue}, which is no queue of this template.")
        if queue.visibility < function.timeout:
            raise ConfigError(
                f"{source.queue}: Lambda refuses a queue whose visibility timeout ({queue.visibility:g} s) is shorter "
                f"than the timeout of {function.name} ({function.timeout:g} s). {MAPPINGS}"
            )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
