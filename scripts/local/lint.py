"""template.yaml and the definition of the state machine against cfn-lint: run by commands.py as `local.lint`.

cfn-lint does not look behind a DefinitionUri, so that it is given the definition once more, inside of a template. It
does not follow the names of states either, but for where a machine starts: that is done here.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

from samcli.yamlhelper import yaml_parse

from .settings import PROJECT, REGION, TEMPLATE, clean_environment, fail

ACCOUNT = "123456789012"
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def main() -> int:
    machines = [
        (name, resource["Properties"])
        for name, resource in yaml_parse(TEMPLATE.read_text())["Resources"].items()
        if resource["Type"] == "AWS::Serverless::StateMachine"
    ]
    with tempfile.TemporaryDirectory() as folder:
        templates = [TEMPLATE]
        for name, properties in machines:
            templates.append(Path(folder) / f"{name}.json")
            templates[-1].write_text(json.dumps(template_of(name, properties), indent=2))
        return lint(templates)


def lint(templates: list[Path]) -> int:
    # Beside this Python, in the environment that has it.
    program = [sys.executable, Path(sys.executable).with_name("cfn-lint")]
    # What it merely recommends is kept to as well.
    options = ["--regions", REGION, "--non-zero-exit-code", "informational"]
    return subprocess.run([*program, *options, "--template", *templates], env=clean_environment()).returncode


def template_of(name: str, properties: dict) -> dict:
    role = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    machine = {"RoleArn": role, "StateMachineType": properties["Type"], "Definition": definition_of(properties)}
    resources = {name: {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine}}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def definition_of(properties: dict) -> dict:
    """The definition as it is deployed, but for whose things it names."""
    uri, given = properties["DefinitionUri"], properties["DefinitionSubstitutions"]
    text = (PROJECT / uri).read_text()
    if (named := set(PLACEHOLDER.findall(text))) != set(given):
        fail(f"{uri} names {', '.join(sorted(named))}, and DefinitionSubstitutions {', '.join(sorted(given))}")
    definition = json.loads(PLACEHOLDER.sub(lambda found: substitute(found[1]), text))
    if astray := sorted(set(lost(definition))):
        fail(f"{uri} goes on with {', '.join(astray)}, which is no state there")
    return definition


def lost(machine: dict) -> Iterator[str]:
    """The states that a machine or a Map in it goes on with and does not have: each has its own alone."""
    for state in machine["States"].values():
        yield from (name for name in ways_out(state) if name not in machine["States"])
        if "ItemProcessor" in state:
            yield from lost(state["ItemProcessor"])


def ways_out(state: dict) -> list[str]:
    ways = [state, *state.get("Catch", []), *state.get("Choices", [])]
    return [way[name] for way in ways for name in ("Next", "Default") if name in way]


def substitute(name: str) -> str:
    """Something like what a substitution is replaced by, as its name has it."""
    if name.endswith("Arn"):
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    if name.endswith("QueueUrl"):
        return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
    return fail(f"a substitution is {name}; known: those that end in Arn or QueueUrl")


if __name__ == "__main__":
    sys.exit(main())
