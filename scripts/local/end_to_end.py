"""The part of `scripts/bench` that is run on the local AWS: how long runs take, and where the time goes."""

import io
import json
import os
import re
import subprocess
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from . import demo, server
from .counts import counted
from .settings import PROJECT, SERVER_LOG, fail

HEADER = """\
| end to end, quoted | s | planning | chunks | rest | CPU s | requests | worker MiB | merger MiB |
|---|---|---|---|---|---|---|---|---|"""
ABOUT = """\
From the upload's end to the output. Planning: until the first window is sent; chunks: until the last worker ended;
rest: until the output is there. CPU s are of all processes, the local AWS itself included."""
# How the log says whose lines follow.
FUNCTION = re.compile(r"Lambda fanfold-([A-Za-z]+)-\w+ output:")


@dataclass
class EndToEnd:
    """One run on the local AWS."""

    records: int
    seconds: float
    planning_s: float
    chunks_s: float
    rest_s: float
    cpu_s: float
    requests: int
    worker_mib: float
    merger_mib: float

    def row(self) -> str:
        return (f"| {self.records} records | {self.seconds:.1f} | {self.planning_s:.1f} | {self.chunks_s:.1f} "
                f"| {self.rest_s:.1f} | {self.cpu_s:.1f} | {self.requests} | {self.worker_mib:.0f} | {self.merger_mib:.0f} |")


def begin() -> None:
    """A stack with nothing in it, whose functions are warm."""
    subprocess.run([PROJECT / "scripts" / "stack", "down"], check=True, stdout=subprocess.DEVNULL)
    if subprocess.run([PROJECT / "scripts" / "stack", "up"], stdout=subprocess.DEVNULL).returncode != 0:
        fail("the stack could not be started")


def end() -> None:
    subprocess.run([PROJECT / "scripts" / "stack", "down"], check=True, stdout=subprocess.DEVNULL)


def measure(programs: Path, source: Path, records: int, prefix: str) -> EndToEnd:
    """Uploads a source under a prefix of its own, waits for the output of its run, and looks into the log and the processes."""
    asked, cpu = counted("requests"), cpu_s()
    with redirect_stdout(io.StringIO()):
        shown, seconds = demo.follow(programs, source, prefix)
    run = shown["run"]
    times = moments(run["id"])
    phases = [later - earlier for earlier, later in zip(times, times[1:])]
    return EndToEnd(records, seconds, *phases, cpu_s() - cpu, (counted("requests") - asked).total(),
                    peak_mib("Worker"), peak_mib("Merger"))


def moments(run: str) -> list[float]:
    """When a run was created, fanned out, when its last worker ended, and when it did."""
    when: dict[str, float] = {}
    function = ""
    for line in SERVER_LOG.read_text(errors="replace").splitlines():
        if found := FUNCTION.search(line):
            function = found[1]
        if not line.startswith("{"):
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        at = datetime.fromisoformat(entry["timestamp"]).timestamp()
        if entry.get("run_id") == run:
            when[entry["message"]] = at
        elif function == "Worker" and "run ended" not in when:
            when["worker"] = at
    return [when["run created"], when["run fanned out"], when["worker"], when["run ended"]]


def processes() -> dict[int, list[str]]:
    """The fields of /proc/PID/stat, from the state on, of the server and what it started."""
    session, found = server.running(), {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found[int(stat.parent.name)] = fields
    return found


def cpu_s() -> float:
    """CPU seconds of the server and of all that it started, ended ones included."""
    ticks = sum(int(tick) for fields in processes().values() for tick in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mib(function: str) -> float:
    """The most memory that one process of a function held at any time."""
    peaks = [0.0]
    for pid in processes():
        try:
            name = re.search(rb"AWS_LAMBDA_FUNCTION_NAME=([^\0]*)", Path(f"/proc/{pid}/environ").read_bytes())
            held = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        except OSError:
            continue
        if name and held and f"-{function}-".encode() in name[1]:
            peaks.append(int(held[1]) / 1024)
    return max(peaks)
