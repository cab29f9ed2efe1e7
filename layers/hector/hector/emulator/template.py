"""What of a built SAM template is run, read from what SAM makes of it: the CloudFormation that AWS would get.

So a route streams here exactly if its integration says ``responseTransferMode: STREAM`` after the transformation; SAM's
lint does not notice a misspelled ``ResponseTransferMode``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hector.emulator import machine
from hector.emulator.checks import check_function, check_mapping
from hector.emulator.intrinsics import Scope
from hector.emulator.limits import Limits
from hector.emulator.model import Function, QueueSettings, Stack
from hector.emulator.template_api import apis
from hector.emulator.template_sources import schedules, sources
from hector.emulator.transform import PLACE, read, transform
from hector.errors import ConfigError

# Events of other services: nothing here sends them.
_UNSENT = {
    "AWS::SNS::Subscription": "SNS subscription",
    "AWS::S3::Bucket": "notifications of a bucket",
    "AWS::Lambda::Url": "function URL",
    "AWS::ApiGatewayV2::Api": "HTTP API",
}
_TABLE_PARAMETERS = (
    *("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes", "BillingMode"),
    *("ProvisionedThroughput", "StreamSpecification"),
)


def load(
    path: Path,
    parameters: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Stack:
    """The stack that a built template makes. Raises ConfigError.

    ``parameters`` are the stack's; those that say what functions run on are this machine's if they are absent.
    ``names`` gives physical names of resources, by logical id.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no built template. Build one: {machine.build_command()}")
    source = read(path)
    given = {**machine.parameters_for_here(source), **(parameters or {})}
    if unknown := given.keys() - source.get("Parameters", {}).keys():
        known = ", ".join(source.get("Parameters", {})) or "none"
        raise ConfigError(f"{path}: there is no parameter {min(unknown)}; there are {known}.")
    scope = Scope(transform(source, given), given, names or {})
    reader = _Reader(source, scope, path.parent, limits or Limits())
    functions, notes = reader.functions()
    known_functions = {function.name: function for function in functions}
    api, unserved = apis(scope)
    found, undelivered = sources(scope)
    timed, untimed = schedules(scope)
    queues = _queues(scope)
    for one in found:
        check_mapping(one, known_functions, {queue.name: queue for queue in queues})
    unsent = [
        f"{name}: {_UNSENT[resource['Type']]} is not emulated"
        for name, resource in scope.resources(*_UNSENT).items()
        if resource["Type"] != "AWS::S3::Bucket" or "NotificationConfiguration" in resource.get("Properties", {})
    ]
    return Stack(
        functions=tuple(functions),
        api=api,
        queues=queues,
        tables={scope.name(name): _table(scope.resolve(one["Properties"])) for name, one in _tables(scope).items()},
        sources=found,
        schedules=timed,
        notes=(*notes, *unserved, *undelivered, *untimed, *unsent),
    )


class _Reader:
    """The functions of a template, with the folders that `sam build` wrote for them."""

    def __init__(self, source: Mapping[str, Any], scope: Scope, base: Path, limits: Limits) -> None:
        self._source, self._scope, self._base, self._limits = source, scope, base, limits
        self._checked: set[Path] = set()
        self._retries = _event_retries(scope)

    def functions(self) -> tuple[list[Function], list[str]]:
        found: list[Function] = []
        notes: list[str] = []
        for name, resource in self._scope.resources("AWS::Lambda::Function").items():
            if resource["Properties"].get("PackageType") == "Image":
                notes.append(f"{name}: functions that are container images are not emulated")
                continue
            function, own = self._function(name, resource["Properties"])
            check_function(function, self._limits)
            found.append(function)
            notes += own
        return found, notes

    def _function(self, name: str, raw: Mapping[str, Any]) -> tuple[Function, list[str]]:
        made = self._scope.resolve({key: value for key, value in raw.items() if key not in {"Role", "Code", "Layers"}})
        machine.check_runtime(name, made, self._source)
        layers = self._scope.resolve(raw.get("Layers") or [])
        contents = [self._layer(one) for one in layers]
        notes = [
            f"{name}: layer {one} is not on this machine"
            for one, content in zip(layers, contents, strict=True)
            if content is None
        ]
        function = Function(
            name=self._scope.name(name),
            code=self._folder(name, raw.get("Code", {}), "CodeUri"),
            handler=made["Handler"],
            environment={key: str(value) for key, value in made.get("Environment", {}).get("Variables", {}).items()},
            layers=tuple(content for content in contents if content is not None),
            timeout=float(made.get("Timeout", 3)),
            memory=int(made.get("MemorySize", 128)),
            runtime=made["Runtime"],
            concurrency=made.get("ReservedConcurrentExecutions"),
            event_retries=self._retries.get(self._scope.name(name)),
            recursive=made.get("RecursiveLoop") == "Allow",
        )
        return function, notes

    def _layer(self, reference: str) -> Path | None:
        layer = self._scope.resources("AWS::Lambda::LayerVersion").get(reference)
        if layer is None:
            return None
        return self._folder(reference, layer["Properties"].get("Content", {}), "ContentUri")

    def _folder(self, name: str, place: Mapping[str, Any], key: str) -> Path:
        """Where the built code lies that the transformation says is at s3://emulator/<logical id>."""
        if place.get("S3Bucket") != PLACE:
            raise ConfigError(f"{name}: its code is not in a local folder ({key}).")
        uri = self._source["Resources"][place["S3Key"]]["Properties"][key]
        folder = (self._base / str(uri)).resolve()
        if not folder.is_dir():
            raise ConfigError(f"{name}: {folder} is not there. Build it: {machine.build_command(self._source)}")
        if folder not in self._checked:
            machine.check_build(folder, self._source)
            self._checked.add(folder)
        return folder


def _event_retries(scope: Scope) -> dict[str, int]:
    """By the function's name, where the template says it."""
    configs = [scope.resolve(one["Properties"]) for one in scope.resources("AWS::Lambda::EventInvokeConfig").values()]
    return {one["FunctionName"]: int(one["MaximumRetryAttempts"]) for one in configs if "MaximumRetryAttempts" in one}


def _queues(scope: Scope) -> tuple[QueueSettings, ...]:
    found = []
    for name, resource in scope.resources("AWS::SQS::Queue").items():
        made = scope.resolve(resource.get("Properties", {}))
        if made.get("FifoQueue"):
            raise ConfigError(f"{name}: first-in-first-out queues are not emulated.")
        redrive = made.get("RedrivePolicy") or {}
        found.append(
            QueueSettings(
                scope.name(name),
                visibility=float(made.get("VisibilityTimeout", 30)),
                delay=float(made.get("DelaySeconds", 0)),
                wait=float(made.get("ReceiveMessageWaitTimeSeconds", 0)),
                dead_letters=str(redrive["deadLetterTargetArn"]).rsplit(":", 1)[-1] if redrive else None,
                max_receives=int(redrive.get("maxReceiveCount", 0)),
            )
        )
    return tuple(found)


def _tables(scope: Scope) -> Mapping[str, Mapping[str, Any]]:
    return scope.resources("AWS::DynamoDB::Table")


def _table(properties: Mapping[str, Any]) -> dict[str, Any]:
    """CreateTable's parameters: what DynamoDB Local knows of them."""
    made = {key: properties[key] for key in _TABLE_PARAMETERS if key in properties}
    if "StreamSpecification" in made:
        made["StreamSpecification"] = {"StreamEnabled": True, **made["StreamSpecification"]}
    return made
