"""What the template wants, as CloudFormation sees it: after SAM's transform, with this stack's parameters."""

import logging
import re
from typing import Any, Callable

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from .settings import REGION, template

# What a template says in place of something that is left out.
NOTHING = object()
PLACEHOLDER = re.compile(r"\$\{([^!][^}]*)\}")


class Unknown:
    """A value that is known only to the deployment, such as an ARN. It equals whatever is there."""

    def __eq__(self, other: object) -> bool:
        return other not in (None, "", [], {})

    def __repr__(self) -> str:
        return "something"


class Template:
    def __init__(self, parameters: dict[str, str], physical: dict[str, str]):
        logging.getLogger("samtranslator").setLevel(logging.ERROR)
        source = yaml_parse(template().read_text())
        defaults = {name: str(given["Default"]) for name, given in source["Parameters"].items()}
        self.parameters = defaults | parameters | {"AWS::Region": REGION}
        self.physical = physical
        for resource in source["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                # Where `sam deploy` would have put it.
                resource["Properties"]["CodeUri"] = "s3://somewhere/code.zip"
            if resource["Type"] == "AWS::Serverless::StateMachine":
                resource["Properties"]["DefinitionUri"] = "s3://somewhere/definition.json"
        document = Translator({}, Parser()).translate(source, dict(self.parameters))
        self.mappings = document.get("Mappings", {})
        self.conditions = document.get("Conditions", {})
        self.resources = document["Resources"]

    def of_type(self, kind: str) -> dict[str, dict]:
        """The properties of the resources of a type that this stack has, by their names."""
        return {
            name: self.value(resource.get("Properties", {}))
            for name, resource in self.resources.items()
            if resource["Type"] == kind and self.holds(resource.get("Condition"))
        }

    def holds(self, condition: str | None) -> bool:
        return condition is None or bool(self.value(self.conditions[condition]))

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for item in node if (value := self.value(item)) is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, argument), = node.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self.function(name, argument)
        return {key: value for key, item in node.items() if (value := self.value(item)) is not NOTHING}

    def function(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref" if argument == "AWS::NoValue":
                return NOTHING
            case "Ref" if argument in self.parameters:
                return self.parameters[argument]
            case "Ref" if argument in self.physical:
                return self.physical[argument]
            case "Fn::FindInMap":
                table, row, column = (self.value(item) for item in argument)
                return self.mappings[table][str(row)][column]
            case "Fn::If":
                condition, then, otherwise = argument
                return self.value(then if self.holds(condition) else otherwise)
            case "Fn::Not":
                return not self.value(argument[0])
            case "Fn::Equals":
                one, other = (self.value(item) for item in argument)
                return one == other
            case "Fn::Join":
                separator, items = argument[0], self.value(argument[1])
                # A parameter that is a list is one text.
                items = items.split(",") if isinstance(items, str) else items
                return text_of(items, separator.join)
            case "Fn::Split":
                separator, text = argument[0], self.value(argument[1])
                return text_of([text], lambda texts: texts[0].split(separator))
            case "Fn::Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                return self.filled(text, {name: self.value(item) for name, item in own.items()})
            case _:
                return Unknown()

    def filled(self, text: str, own: dict[str, Any]) -> Any:
        """A text with what its placeholders stand for, if all of that is known."""
        names = PLACEHOLDER.findall(text)
        values = {name: own[name] if name in own else self.function("Ref", name) for name in names}
        return text_of(list(values.values()), lambda _: PLACEHOLDER.sub(lambda found: values[found[1]], text))


def text_of(items: Any, make: Callable[[list[str]], Any]) -> Any:
    """What is made of texts, if that is what they all are."""
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return make(items)
    return Unknown()
