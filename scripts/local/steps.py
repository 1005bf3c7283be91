"""What a demonstration does, each step shown: a command, a request of a client's, the command line."""

import subprocess
import time
from pathlib import Path

from . import venvs
from .commands import outputs, variable
from .server import port
from .settings import PROJECT, client_environment, fail

PIPELINE = PROJECT / "events" / "orders.yaml"
# How a demonstration's own requests are told from the functions'.
CLIENT = "fanfold-demo"


def step(name: str, command: list) -> None:
    began = time.monotonic()
    print(f"-- {name}", flush=True)
    done = subprocess.run([str(word) for word in command], cwd=PROJECT)
    if done.returncode != 0:
        fail(f"{name} failed (exit status {done.returncode})")
    print(f"   {time.monotonic() - began:.1f} s", flush=True)


def environment() -> dict[str, str]:
    names = {variable(name): value for name, value in outputs().items()}
    own = {"FANFOLD_S3_WHOLE_CHECKSUM": "off", "AWS_SDK_UA_APP_ID": CLIENT}
    return client_environment(port()) | names | own


def objects(*words: object) -> str:
    """An ordinary S3 client, in the environment that has one."""
    command = [venvs.python_of("client"), PROJECT / "scripts" / "local" / "objects.py", *words]
    done = subprocess.run([str(word) for word in command], env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"the S3 client failed: {done.stderr.strip()}")
    return done.stdout.strip()


def fanfold(target: Path, *words: object) -> str:
    command = [str(target / "fanfold"), *map(str, words)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.stderr.strip())
    return done.stdout
