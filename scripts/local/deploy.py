"""`sam deploy` to the local AWS."""

import json
import subprocess
import tomllib

import boto3
from botocore.config import Config

from . import enforced, venvs
from .server import tail
from .settings import (
    DEPLOY_LOG,
    DIST,
    ENFORCED_TEMPLATE,
    OUTPUTS,
    PROJECT,
    REGION,
    SAMCONFIG,
    TEMPLATE,
    client_environment,
    credentials,
    endpoint,
    fail,
    template,
)

CONFIG = tomllib.loads(SAMCONFIG.read_text())["local"]
STACK = CONFIG["global"]["parameters"]["stack_name"]


class Aws:
    """Clients of the local AWS, made when they are needed."""

    def __init__(self, port: int):
        self.endpoint = endpoint(port)
        names = credentials()
        self.session = boto3.Session(names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
        self.clients = {}

    def __getattr__(self, service: str):
        """`aws.s3` and the like."""
        return self.client(service)

    def client(self, service: str):
        if service not in self.clients:
            config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2})
            self.clients[service] = self.session.client(service, endpoint_url=self.endpoint, config=config)
        return self.clients[service]

    def resources(self) -> dict[str, str]:
        """The physical id of each resource of the stack, by its name in the template."""
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    def stack(self) -> dict:
        return self.cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]


def functions_missing() -> list[str]:
    """The functions that the template wants of dist/ and that are not there."""
    wanted = [line.split("dist/")[1].strip(" /") for line in TEMPLATE.read_text().splitlines() if "CodeUri:" in line]
    return [name for name in wanted if not (DIST / name / "bootstrap").is_file()]


def quoted(parameter: str) -> str:
    """`Name=some value` as SAM reads it: without quotes a value ends where a space is."""
    name, _, value = parameter.partition("=")
    escaped = value.replace('"', '\\"')
    return f'{name}="{escaped}"'


def deploy(aws: Aws, port: int, parameters: list[str]) -> None:
    """Creates the stack or updates it. A parameter stays as it was set until it is set again."""
    if missing := functions_missing():
        fail(f"dist/ has no {', '.join(missing)}: run scripts/build")
    aws.s3.create_bucket(Bucket=CONFIG["deploy"]["parameters"]["s3_bucket"])
    if template() == ENFORCED_TEMPLATE:
        enforced.write()
    sam = [venvs.python_of("client"), "-m", "samcli", "deploy", "--template-file", template()]
    sam += ["--config-file", SAMCONFIG, "--config-env", "local", "--no-progressbar"]
    overrides = CONFIG["deploy"]["parameters"]["parameter_overrides"] + parameters
    with open(DEPLOY_LOG, "w") as log:
        done = subprocess.run(
            [*sam, "--parameter-overrides", *map(quoted, overrides)],
            cwd=PROJECT,
            env=client_environment(port) | {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.2"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        fail(f"sam deploy failed; {DEPLOY_LOG.relative_to(PROJECT)} ends:\n{tail(DEPLOY_LOG)}")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in aws.stack()["Outputs"]}
    OUTPUTS.write_text(json.dumps(outputs, indent=2))
