"""What `scripts/stack` can be told."""

import argparse
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager

from . import server, venvs
from .settings import (
    DIST,
    OUTPUTS,
    PROJECT,
    cache,
    clean_environment,
    client_environment,
    credentials,
    endpoint,
    fail,
    programs,
)

ABOUT = """\
Runs the whole stack on this machine, on a local AWS that listens on 127.0.0.1 alone.

  scripts/build && scripts/stack up     start, deploy, check; again after each change
  eval "$(scripts/stack env)"           point this shell at it
  scripts/stack down                    end it; what it held is gone

FANFOLD_PORT is its port, 4566 unless said otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser("scripts/stack", description=ABOUT, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    up_parser = commands.add_parser("up", help="start it if it does not run, deploy, check")
    up_parser.add_argument("--no-deploy", action="store_true", help="start the local AWS and no more")
    up_parser.add_argument("--enforce-roles", action="store_true", help="let functions do only what their roles allow")
    up_parser.add_argument("--strict", action="store_true",
                           help="limit functions as AWS does: docs/LOCAL-AWS.md tells in what")
    up_parser.add_argument("--concurrency", type=int, metavar="N",
                           help="with --strict: so many functions run at once at most; 1000 unless said otherwise")
    up_parser.add_argument("--faults", type=float, metavar="RATE",
                           help="with --strict: the share of functions' requests that S3 and DynamoDB refuse, as 0.01")
    up_parser.add_argument("--set", action="append", default=[], metavar="Name=Value",
                           help="a parameter of template.yaml; stays set until `down`")
    commands.add_parser("down", help="end it")
    commands.add_parser("status", help="whether it runs, and where")
    commands.add_parser("check", help="compare what was deployed with the template")
    commands.add_parser("env", help="print what a shell needs to reach it")
    commands.add_parser("lint", help="check the template and the state machine; needs no stack")
    arguments = parser.parse_args()
    match arguments.command:
        case "up":
            up(arguments.no_deploy, arguments.enforce_roles, strict(up_parser, arguments), arguments.set)
        case "down":
            with alone():
                print("ended" if server.stop() else "it was not running")
        case "status":
            status()
        case "check":
            sys.exit(in_client("check", running_port()))
        case "env":
            print_environment(running_port())
        case "lint":
            sys.exit(in_environment("lint", clean_environment()))


def strict(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The arguments that strict.py is given."""
    at_once, rate = arguments.concurrency, arguments.faults
    if not arguments.strict and (at_once is not None or rate is not None):
        parser.error("--concurrency and --faults need --strict")
    if at_once is not None and at_once < 1:
        parser.error(f"--concurrency is {at_once}; allowed: 1 or more")
    if rate is not None and not 0 <= rate < 1:
        parser.error(f"--faults is {rate}; allowed: from 0 to below 1")
    given = {"--concurrency": at_once, "--faults": rate}
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    return ["--strict", *options] if arguments.strict else []


def up(no_deploy: bool, enforce_roles: bool, strict: list[str], parameters: list[str]) -> None:
    with alone():
        began = time.monotonic()
        started = server.start(enforce_roles, strict)
        port = server.port()
        print(f"local AWS {'started' if started else 'runs'} on {endpoint(port)} {since(began)}")
        if no_deploy:
            return
        if not DIST.is_dir():
            print("nothing is deployed, since there is no dist/: run scripts/build")
            return
        sys.exit(in_client("deploy", port, *parameters))


def in_client(task: str, port: int, *arguments: str) -> int:
    """Goes on in the environment that has boto3, pointed at the local AWS."""
    return in_environment("tasks", client_environment(port), task, str(port), *arguments)


def in_environment(module: str, variables: dict[str, str], *arguments: str) -> int:
    """Runs a module of ours in the environment that has boto3, SAM and cfn-lint."""
    python = venvs.python_of("client")
    variables = variables | {"PYTHONPATH": str(PROJECT / "scripts"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([python, "-m", f"local.{module}", *arguments], env=variables).returncode


def status() -> None:
    pid = server.running()
    if not pid:
        print("not running")
        sys.exit(1)
    print(f"running on {endpoint(server.port())}, pid {pid}")
    for name, value in outputs().items():
        print(f"{name:24} {' '.join(value.split())}")


def print_environment(port: int) -> None:
    """Everything a client needs, ours or a foreign one."""
    variables = {"AWS_ENDPOINT_URL": endpoint(port)} | credentials() | {
        "AWS_PAGER": "",
        # For clients that do not read the file: buckets are in the path, and there is no TLS.
        "AWS_S3_FORCE_PATH_STYLE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        "AWS_ALLOW_HTTP": "true",
        # As its functions are deployed: its S3 knows no checksum of a whole upload.
        "FANFOLD_S3_WHOLE_CHECKSUM": "off",
    }
    variables |= {variable(name): value for name, value in outputs().items()}
    print("unset AWS_PROFILE AWS_SESSION_TOKEN")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    # Where `scripts/build` put the command line, if it was called with the same variables.
    own = str(programs(os.environ.get("FANFOLD_PROFILE", "release")))
    if own not in os.environ.get("PATH", "").split(os.pathsep):
        print(f'export PATH={shlex.quote(own)}:"$PATH"')


def variable(output: str) -> str:
    """`ChunksQueueUrl` as `FANFOLD_CHUNKS_QUEUE_URL`."""
    return "FANFOLD_" + re.sub(r"(?<!^)(?=[A-Z])", "_", output).upper()


def outputs() -> dict[str, str]:
    return json.loads(OUTPUTS.read_text()) if OUTPUTS.exists() else {}


def running_port() -> int:
    if not server.running():
        fail("it is not running: run `scripts/stack up`")
    return server.port()


@contextmanager
def alone():
    """One command at a time changes the stack."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "stack.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def since(began: float) -> str:
    return f"({time.monotonic() - began:.1f} s)"
