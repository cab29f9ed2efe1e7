"""What CloudFormation makes of the transformed template and the stacks in infra/, for given parameters.

Conditions are evaluated, what they leave out is gone, parameters are filled in. A reference to a resource becomes its
logical id, an attribute `<Name.Attribute>`; nothing of this asks AWS.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from hector.emulator.transform import transform
from tests.lambda_ import built

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "hector",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()


class Stack:
    """`resources` are those whose condition holds, resolved; `outputs` likewise."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, Any]) -> None:
        declared = template.get("Parameters", {})
        unknown = parameters.keys() - declared.keys()
        assert not unknown, f"there is no parameter {unknown}"
        missing = [name for name, value in declared.items() if "Default" not in value and name not in parameters]
        assert not missing, f"parameters without a value: {missing}"
        for name, value in parameters.items():
            pattern, allowed = declared[name].get("AllowedPattern"), declared[name].get("AllowedValues")
            assert len(str(value)) <= declared[name].get("MaxLength", 4096), f"{name}={value!r} is too long"
            assert pattern is None or re.fullmatch(pattern, str(value)), f"{name}={value!r} is not {pattern}"
            assert allowed is None or str(value) in map(str, allowed), f"{name}={value!r} is none of {allowed}"
        defaults = {name: value.get("Default") for name, value in declared.items()}
        self._values = {**PSEUDO, **defaults, **parameters}
        self._conditions = template.get("Conditions", {})
        self.logical_ids = set(template["Resources"])
        self.resources: dict[str, Any] = self._holding(template["Resources"])
        self.outputs: dict[str, Any] = self._holding(template.get("Outputs", {}))
        self.refused = [
            assertion["AssertDescription"]
            for rule in template.get("Rules", {}).values()
            if self.resolve(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.resolve(assertion["Assert"])
        ]

    def _holding(self, items: dict[str, Any]) -> dict[str, Any]:
        holding = {name: item for name, item in items.items() if self.holds(item.get("Condition"))}
        return {
            name: self.resolve({key: value for key, value in item.items() if key != "Condition"})
            for name, item in holding.items()
        }

    def holds(self, condition: str | None) -> bool:
        return condition is None or bool(self.resolve(self._conditions[condition]))

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for item in value if (found := self.resolve(item)) is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            if name == "Ref":
                return self._reference(argument)
            if name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), argument)
            if name == "Condition" and argument in self._conditions:
                return self.holds(argument)
        found = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item is not _NOTHING}

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._values:
            return self._values[name]
        assert name in self.logical_ids, f"a reference to {name}, which does not exist"
        return name

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "If":
                condition, yes, no = argument
                return self.resolve(yes if self.holds(condition) else no)
            case "Sub":
                text, names = (argument, {}) if isinstance(argument, str) else argument
                known = {key: self.resolve(item) for key, item in names.items()}
                return re.sub(
                    r"\$\{([^!}]+)\}",
                    lambda found: str(known[found[1]] if found[1] in known else self._named(found[1])),
                    text,
                )
            case "GetAtt":
                return self._named(argument if isinstance(argument, str) else ".".join(argument))
            case "Transform":
                raise NotImplementedError(name)
        items = self.resolve(argument)
        match name:
            case "Equals":
                return str(items[0]) == str(items[1])
            case "Not":
                return not items[0]
            case "And":
                return all(items)
            case "Join":
                return items[0].join(items[1])
            case "Split":
                return str(items[1]).split(items[0])
            case "Select":
                return items[1][int(items[0])]
        raise NotImplementedError(name)

    def _named(self, reference: str) -> Any:
        name, _, attribute = reference.partition(".")
        return f"<{self._reference(name)}.{attribute}>" if attribute else self._reference(name)


@cache
def source() -> dict[str, Any]:
    """template.yaml as it is written."""
    template: dict[str, Any] = yaml_parse((built.ROOT / "template.yaml").read_text())
    return template


@cache
def made() -> dict[str, Any]:
    """The resources that SAM makes of template.yaml, with their conditions as they are."""
    resources: dict[str, Any] = transform(source())["Resources"]
    return resources


@cache
def deployed(**parameters: Any) -> Stack:
    """template.yaml with these parameters. Raises AssertionError for values that CloudFormation would refuse."""
    return Stack(transform(source(), {name: str(value) for name, value in parameters.items()}), parameters)


@cache
def nested(name: str, **parameters: Any) -> Stack:
    """One of the stacks in infra/, with the parameters that template.yaml gives it."""
    stack = deployed(**parameters).resources[name]["Properties"]
    template: dict[str, Any] = yaml_parse((built.ROOT / stack["TemplateURL"]).read_text())
    return Stack(template, stack["Parameters"])
