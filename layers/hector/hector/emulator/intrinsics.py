"""CloudFormation's intrinsic functions, resolved as far as templates of functions use them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hector.emulator.model import ACCOUNT, REGION, SQS, arn
from hector.errors import ConfigError

_PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "emulator",
    "AWS::StackId": "emulator",
}
# What a resource's physical name is written as, by the property that may give it.
_NAMED_BY = {"AWS::SQS::Queue": "QueueName", "AWS::DynamoDB::Table": "TableName", "AWS::SNS::Topic": "TopicName"}


class Scope:
    """Resolves values of one transformed template. ``names`` gives physical names, by logical id."""

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._template, self._names = template, names
        defaults = {name: one.get("Default", "") for name, one in template.get("Parameters", {}).items()}
        self._values: dict[str, Any] = {**_PSEUDO, **defaults, **parameters}
        for name, one in template.get("Parameters", {}).items():
            if one.get("Type") == "CommaDelimitedList":
                self._values[name] = str(self._values[name]).split(",")
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})

    def resources(self, *types: str) -> dict[str, Mapping[str, Any]]:
        """The resources of these types whose condition holds, by logical id."""
        return {
            name: resource
            for name, resource in self._template["Resources"].items()
            if resource["Type"] in types and self.holds(resource.get("Condition"))
        }

    def holds(self, condition: str | None) -> bool:
        return condition is None or bool(self.resolve(self._conditions[condition]))

    def name(self, logical: str) -> str:
        """A resource's physical name."""
        resource = self._template["Resources"].get(logical, {})
        own = resource.get("Properties", {}).get(_NAMED_BY.get(resource.get("Type"), ""))
        return self._names.get(logical) or (str(self.resolve(own)) if own else logical)

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
                return self.holds(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _reference(self, logical: str) -> Any:
        if logical == "AWS::NoValue":
            return None
        if logical in self._values:
            return self._values[logical]
        resource = self._template["Resources"].get(logical, {})
        properties, name = resource.get("Properties", {}), self.name(logical)
        match resource.get("Type"):
            case "AWS::SQS::Queue":
                return f"{SQS}/{ACCOUNT}/{name}"
            case "AWS::SNS::Topic":
                return arn("sns", name)
            case "AWS::Lambda::Alias" | "AWS::Lambda::Version":
                function = self.resolve(properties["FunctionName"])
                return arn("lambda", f"function:{function}:{self.resolve(properties.get('Name', '1'))}")
            case _:
                return name

    def _attribute(self, logical: str, attribute: str) -> Any:
        name = self.name(logical)
        match self._template["Resources"].get(logical, {}).get("Type"), attribute:
            case "AWS::SQS::Queue", "Arn":
                return arn("sqs", name)
            case "AWS::DynamoDB::Table", "Arn":
                return arn("dynamodb", f"table/{name}")
            case "AWS::DynamoDB::Table", "StreamArn":
                return arn("dynamodb", f"table/{name}/stream/latest")
            case "AWS::Lambda::Function", "Arn":
                return arn("lambda", f"function:{name}")
            case _, "Arn":
                return arn("emulator", name)
            case _:
                return name

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Sub":
            text, extra = (argument, {}) if isinstance(argument, str) else argument
            own = {key: self.resolve(item) for key, item in extra.items()}
            filled = re.sub(r"\$\{([^!}][^}]*)\}", lambda found: str(self._substitute(found[1], own)), text)
            return filled.replace("${!", "${")
        if name == "GetAtt":
            logical, _, attribute = (argument if isinstance(argument, str) else ".".join(argument)).partition(".")
            return self._attribute(logical, attribute)
        if name == "If":
            condition, yes, no = argument
            return self.resolve(yes if self.holds(condition) else no)
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
            case "Split":
                return str(items[1]).split(str(items[0]))
            case "FindInMap":
                return self.resolve(self._template["Mappings"][items[0]][items[1]][items[2]])
        raise ConfigError(f"template: the emulator does not resolve Fn::{name}.")

    def _substitute(self, reference: str, own: Mapping[str, Any]) -> Any:
        if reference in own:
            return own[reference]
        logical, _, attribute = reference.partition(".")
        return self._attribute(logical, attribute) if attribute else self._reference(logical)
