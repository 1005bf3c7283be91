"""The part of `scripts/bench` about many chunks: the example n-to-n with ten times its indexes, and a small file that
comes while a large run is under way.
"""

import io
import json
import statistics
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

from . import demo, end_to_end, steps
from .settings import PROJECT, STATE, fail, programs

INDEXES = 10_000
SMALL_ROWS = 200
TIMES = 5
LARGE = """\
pipeline: large
source: { range: { count: 10000 } }
split: { records: 1 }
stages: [{ name: copied, process: copy, max_concurrency: 8 }]
"""


def main(small: Path) -> None:
    end_to_end.begin()
    fairness(programs("release"), small)
    end_to_end.end()
    end_to_end.begin()
    words = [PROJECT / "scripts" / "demo", "--deployed", "--example", "n-to-n", "--count", str(INDEXES)]
    if subprocess.run(words).returncode != 0:
        fail("the example failed")
    end_to_end.end()


def fairness(target: Path, small: Path) -> None:
    # The first one starts the functions.
    alone = taken(target, small, "alone", TIMES + 1)[1:]
    document = STATE / "large.yaml"
    document.write_text(LARGE)
    steps.fanfold(target, "pipelines", "apply", document)
    large = json.loads(steps.fanfold(target, "run", "--pipeline", "large", "--json"))["run"]
    steps.find(target, lambda run: run["id"] == large and run["state"] == "running", steps.MOST_S)
    behind = taken(target, small, "behind", TIMES)
    shown = json.loads(steps.fanfold(target, "show", large, "--json"))
    if shown["run"]["state"] != "running":
        fail("the large run ended too soon")
    ratio = statistics.median(behind) / statistics.median(alone)
    print(f"{SMALL_ROWS} records: {row(alone)} alone, {row(behind)} behind a run of 10,000 chunks: {ratio:.1f} times as long")


def row(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def taken(target: Path, small: Path, where: str, times: int) -> list[float]:
    with redirect_stdout(io.StringIO()):
        return [demo.follow(target, small, f"{where}-{time}/")[1] for time in range(times)]
