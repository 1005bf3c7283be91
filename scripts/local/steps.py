"""What a demonstration does, each step shown: a command, a request of a client's, the command line."""

import filecmp
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import venvs
from .commands import outputs, variable
from .server import port
from .settings import PROJECT, client_environment, fail

PIPELINE = PROJECT / "examples" / "orders.yaml"
# How a demonstration's own requests are told from the functions'.
CLIENT = "fanfold-demo"
POLL_S = 0.1
MOST_S = 600
ENDED = {"succeeded", "succeeded_partial", "failed", "cancelled", "superseded"}


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
    return client("objects.py", *words)


def send(queue: str, body: str) -> None:
    """Sends a message to the queue that an output of the stack names."""
    client("messages.py", outputs()[queue], body)


def client(program: str, *words: object) -> str:
    command = [venvs.python_of("client"), PROJECT / "scripts" / "local" / program, *words]
    done = subprocess.run([str(word) for word in command], env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{program} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def fanfold(target: Path, *words: object) -> str:
    command = [str(target / "fanfold"), *map(str, words)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.stderr.strip())
    return done.stdout


def ended(target: Path, run: str) -> dict:
    """Shows a run until it ends; all of it, if it succeeded."""
    is_terminal = sys.stdout.isatty()
    last, deadline = "", time.monotonic() + MOST_S
    while time.monotonic() < deadline:
        shown = json.loads(fanfold(target, "show", run, "--json"))
        state, progress = shown["run"]["state"], shown["progress"]
        told = f"{state:<10} {progress['stage']} {progress['done']}/{progress['chunks']} chunks"
        if told != last:
            # On a terminal in the place of the line before, which may be longer.
            print(f"\r   {told:<60}" if is_terminal else f"   {told}", end="" if is_terminal else "\n", flush=True)
            last, deadline = told, time.monotonic() + MOST_S
        if state in ENDED:
            if is_terminal:
                print()
            if state != "succeeded":
                fail(f"the run ended {state}: {shown['run']['reason']}")
            return shown
        time.sleep(POLL_S)
    fail(f"nothing of the run was done within {MOST_S} s")


def run_of(target: Path, key: str) -> str:
    """The id of the run that the upload of a key begins."""
    return find(target, lambda run: run["source"]["object"]["key"] == key, MOST_S)["id"]


def find(target: Path, wanted, most_s: float) -> dict:
    """Waits for a run, and gives it as it is then."""
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        if found := next(filter(wanted, recent(target)), None):
            return found
        time.sleep(POLL_S)
    fail(f"there was no run within {most_s:.0f} s")


def recent(target: Path) -> list[dict]:
    return [json.loads(line) for line in fanfold(target, "runs", "--limit", 20, "--json").splitlines()]


@dataclass
class Example:
    """A pipeline of examples/: the programs that there are, its document, and a folder to work in."""

    target: Path
    document: Path
    work: Path

    def apply(self, document: Path | None = None) -> None:
        print(f"-- apply\n   {fanfold(self.target, 'pipelines', 'apply', document or self.document).strip()}", flush=True)

    def run(self, pipeline: str) -> tuple[dict, float]:
        """Runs a pipeline that reads no object of a name, once; the run, and seconds until it had ended."""
        print("-- run", flush=True)
        began = time.monotonic()
        run = json.loads(fanfold(self.target, "run", "--pipeline", pipeline, "--json"))["run"]
        # What was submitted is not there at once.
        find(self.target, lambda found: found["id"] == run, MOST_S)
        return ended(self.target, run), time.monotonic() - began

    def output(self, shown: dict) -> Path:
        """What a run put out."""
        fetched, output = self.work / "output", shown["run"]["output"]
        objects("download", output["bucket"], output["key"], fetched)
        return fetched

    def compare(self, shown: dict) -> None:
        """Compares what a run that reads no object put out with one sequential pass on this machine."""
        print("-- compare", flush=True)
        fetched, sequential = self.output(shown), self.work / "sequential"
        fanfold(self.target, "local", "--pipeline", self.document, "--sequential", "--output", sequential)
        if not filecmp.cmp(fetched, sequential, shallow=False):
            fail(f"the output differs from a sequential pass: compare {fetched} with {sequential}")
        print(f"   the output is byte for byte that of a sequential pass ({fetched.stat().st_size} bytes)", flush=True)
