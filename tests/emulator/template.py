"""Functions and routes of a SAM template, read from what SAM makes of it: the CloudFormation that AWS would get.

So a route streams here exactly if its integration says ``responseTransferMode: STREAM`` after the transformation; SAM's
lint does not notice a misspelled ``ResponseTransferMode``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from tests.emulator.model import Function, Route

_METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "x-amazon-apigateway-any-method"}
_PSEUDO = {
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "emulator",
    "AWS::StackId": "emulator",
}


def transform(template: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The CloudFormation template that SAM makes of ``template``. Local code folders are kept out of its way."""
    copy: dict[str, Any] = json.loads(json.dumps(template))
    for name, resource in copy["Resources"].items():
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                resource["Properties"][key] = f"s3://emulator/{name}"
    values = {name: str(value["Default"]) for name, value in copy.get("Parameters", {}).items() if "Default" in value}
    session = boto3.Session(region_name=_PSEUDO["AWS::Region"])
    translator = Translator({}, Parser(), boto_session=session)
    result: dict[str, Any] = translator.translate(copy, {**values, **(parameters or {})})
    return result


def load(path: Path, parameters: Mapping[str, str], resources: Mapping[str, str]) -> tuple[list[Function], list[Route]]:
    """The template's Lambda functions and the routes of its REST APIs."""
    source: dict[str, Any] = yaml_parse(path.read_text())
    result = transform(source, parameters)
    defaults = {name: value.get("Default", "") for name, value in source.get("Parameters", {}).items()}
    scope = _Scope({**_PSEUDO, **defaults, **parameters}, resources, result.get("Conditions", {}))
    functions, routes = [], []
    for name, resource in result["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            functions.append(_function(name, resource["Properties"], source, path.parent, scope))
        elif resource["Type"] == "AWS::ApiGateway::RestApi":
            routes += _routes(scope.resolve(resource["Properties"]["Body"]))
    return functions, routes


def _function(name: str, made: dict[str, Any], source: dict[str, Any], base: Path, scope: _Scope) -> Function:
    resolved = scope.resolve({key: value for key, value in made.items() if key not in {"Role", "Layers", "Code"}})
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if resolved["Runtime"] != here:
        raise RuntimeError(
            f"{name} is built for {resolved['Runtime']}, this is {here}. Build with "
            f"`sam build --parameter-overrides PythonRuntime={here} …` and pass the same parameters here."
        )
    code = source["Resources"][name]["Properties"]["CodeUri"]
    layers = source["Resources"][name]["Properties"].get("Layers") or []
    layers = [*source.get("Globals", {}).get("Function", {}).get("Layers", []), *layers]
    contents = [source["Resources"][layer["Ref"]]["Properties"]["ContentUri"] for layer in layers]
    return Function(
        name=name,
        code=(base / code).resolve(),
        handler=resolved["Handler"],
        environment={key: str(value) for key, value in resolved.get("Environment", {}).get("Variables", {}).items()},
        layers=tuple((base / content).resolve() for content in contents),
        timeout=float(resolved.get("Timeout", 3)),
        memory=int(resolved.get("MemorySize", 128)),
        runtime=resolved["Runtime"],
    )


def _routes(body: dict[str, Any]) -> list[Route]:
    found = []
    binary = tuple(body.get("x-amazon-apigateway-binary-media-types", ()))
    for resource, methods in body["paths"].items():
        for method in methods.keys() & _METHODS:
            integration = methods[method].get("x-amazon-apigateway-integration", {})
            target = re.search(r"/functions/(?:arn:aws:emulator:::)?([^/:]+)(?::[^/]+)?/", str(integration.get("uri")))
            if target is None:
                continue  # CORS preflight and other mocks
            verb = "ANY" if method.startswith("x-") else method.upper()
            streams = integration.get("responseTransferMode") == "STREAM"
            timeout = integration.get("timeoutInMillis", 29_000) / 1000
            found.append(Route(verb, resource, target[1], streams, timeout, binary))
    return found


class _Scope:
    """Resolves the intrinsic functions that the templates use."""

    def __init__(self, values: dict[str, Any], resources: Mapping[str, str], conditions: dict[str, Any]) -> None:
        self._values, self._resources, self._conditions = values, resources, conditions

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for item in value if (found := self.resolve(item)) is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref":
                return self._reference(argument)
            if name == "Condition" and isinstance(argument, str):
                return self.resolve(self._conditions[argument])
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return None
        return self._resources.get(name) or self._values.get(name, name)

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Sub":
            text, extra = (argument, {}) if isinstance(argument, str) else argument
            names = {key: self.resolve(item) for key, item in extra.items()}
            return re.sub(r"\$\{([^!}][^}]*)\}", lambda found: str(names.get(found[1]) or self._name(found[1])), text)
        if name == "GetAtt":
            return self._name(argument if isinstance(argument, str) else ".".join(argument))
        if name == "If":
            condition, yes, no = argument
            return self.resolve(yes if self.resolve(self._conditions[condition]) else no)
        items = self.resolve(argument)
        match name:
            case "Equals":
                return str(items[0]) == str(items[1])
            case "Not":
                return not items[0]
            case "And":
                return all(items)
            case "Or":
                return any(items)
            case "Join":
                return str(items[0]).join(str(item) for item in items[1])
            case "Select":
                return items[1][int(items[0])]
        raise NotImplementedError(f"The emulator does not resolve Fn::{name}.")

    def _name(self, reference: str) -> str:
        """A Ref (``Table``) or an attribute (``Table.Arn``, for which an ARN-like name with the logical id will do)."""
        logical, _, attribute = reference.partition(".")
        value = str(self._reference(logical))
        return f"arn:aws:emulator:::{value}" if attribute == "Arn" and logical not in self._values else value
