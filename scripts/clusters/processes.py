"""Programs that run on after the command that started them."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

from local.server import tail
from local.settings import clean_environment

from . import cgroups
from .settings import fail

POLL_S = 0.1


class Process:
    """A program by its name, and the folder of the cluster it is a part of."""

    def __init__(self, folder: Path, name: str):
        self.name = name
        self.group = cgroups.programs_of(folder.name)
        self.record = folder / "processes" / f"{name}.json"
        self.log = folder / "logs" / f"{name}.log"

    def pid(self) -> int | None:
        """Its pid while it runs. When it began is remembered too, so that a pid that is left over is never taken
        for it."""
        if not self.record.exists():
            return None
        known = json.loads(self.record.read_text())
        began = began_at(known["pid"])
        return known["pid"] if began and began == known["began"] else None

    def ensure(self, command: list[str | Path], environment: dict[str, str] | None = None) -> None:
        """Starts it unless it runs. One that was paused goes on."""
        words = [str(word) for word in command]
        if pid := self.pid():
            if json.loads(self.record.read_text())["command"] != words:
                fail(f"{self.name} runs with other settings than it would now: run `scripts/cluster down` first")
            os.kill(pid, signal.SIGCONT)
            return
        for file in (self.record, self.log):
            file.parent.mkdir(parents=True, exist_ok=True)
        cgroups.make(self.group)
        with open(self.log, "a") as log:
            child = subprocess.Popen(
                words,
                env=clean_environment() | (environment or {}),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: cgroups.enter(self.group),
            )
        known = {"pid": child.pid, "began": began_at(child.pid), "command": words, "environment": environment}
        self.record.write_text(json.dumps(known, indent=2))

    def again(self) -> None:
        """Starts it as it was started before."""
        known = json.loads(self.record.read_text())
        self.ensure(known["command"], known["environment"])

    def send(self, number: signal.Signals) -> None:
        pid = self.pid()
        if not pid:
            fail(f"{self.name} does not run")
        os.kill(pid, number)

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.send(signal.SIGKILL)
        while self.pid():
            time.sleep(POLL_S)

    def wait_until(self, claim: Callable[[], bool], seconds: float) -> None:
        """Waits for what this program is to bring about."""
        deadline = time.monotonic() + seconds
        while not claim():
            if not self.pid():
                fail(f"{self.name} ended; its log ends:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                fail(f"{self.name} was not ready after {seconds} s; its log ends:\n{tail(self.log)}")
            time.sleep(POLL_S)


def began_at(pid: int) -> str | None:
    """When a process began, in clock ticks since the machine's start; none if it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # After the program's name, which may hold anything.
    state, *fields = text[text.rindex(")") + 1:].split()
    return None if state == "Z" else fields[18]
