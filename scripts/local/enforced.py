"""The template for a local AWS that enforces roles and policies, as far as it does as AWS would."""

from typing import Any, Iterator

from samcli.yamlhelper import yaml_dump, yaml_parse

from .settings import ENFORCED_TEMPLATE, PROJECT, TEMPLATE


def write() -> None:
    document = yaml_parse(TEMPLATE.read_text())
    resources = document["Resources"]
    for name, resource in list(resources.items()):
        properties = resource.get("Properties", {})
        for policy in policies(properties):
            policy["Statement"] = [adapted(s) for s in policy["Statement"] if s.get("Sid") != "TlsOnly"]
        if "PolicyDocument" in properties and not properties["PolicyDocument"]["Statement"]:
            del resources[name]
        for uri in ("CodeUri", "DefinitionUri"):
            if uri in properties:
                properties[uri] = str(PROJECT / properties[uri])
    ENFORCED_TEMPLATE.write_text(yaml_dump(document))


def policies(properties: dict) -> Iterator[dict]:
    if "PolicyDocument" in properties:
        # There is no TLS here.
        yield properties["PolicyDocument"]
    for policy in properties.get("Policies", []):
        yield policy["PolicyDocument"]


def adapted(statement: dict[str, Any]) -> dict[str, Any]:
    """A statement with what AWS implies and the local one wants said."""
    if "Fn::If" in statement:
        return statement
    adapted = dict(statement)
    if statement["Action"] == "sqs:SendMessage":
        adapted["Action"] = ["sqs:SendMessage", "sqs:SendMessageBatch"]
    if statement["Action"] == "events:PutEvents":
        # It does not know what an event's source is when it compares.
        del adapted["Condition"]
    return adapted
