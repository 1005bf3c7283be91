"""A pipeline that runs by itself once a minute, and a tick that comes more than once."""

import json
import time
from pathlib import Path

from .. import steps
from ..settings import fail
from ..steps import Example

PIPELINE = "every-minute"
# A minute, and what the local scheduler is late.
MOST_S = 150
DOUBLES = 2
# In which a wrong reaction would show.
SETTLE_S = 5


def show(example: Example, _count: None) -> None:
    example.apply()
    before = {run["id"] for run in ticked(example)}
    print("-- wait for a tick", flush=True)
    began = time.monotonic()
    try:
        run = steps.find(example.target, lambda run: is_of(run) and run["id"] not in before, MOST_S)
    finally:
        # Else it would go on as long as the stack is up.
        example.apply(without_schedule(example))
    print(f"   it came after {time.monotonic() - began:.0f} s, for {run['scheduled_at']}")
    shown = steps.ended(example.target, run["id"])
    example.compare(shown)
    double(example, run)


def double(example: Example, run: dict) -> None:
    """Sends the tick again, under the document as it was then, and looks at what it began."""
    print("-- the same tick again", flush=True)
    example.apply()
    try:
        tick = {"v": 1, "kind": "tick", "pipeline": PIPELINE, "scheduled_at": run["scheduled_at"]}
        for _ in range(DOUBLES):
            steps.send("IntakeQueueUrl", json.dumps(tick))
        time.sleep(SETTLE_S)
    finally:
        example.apply(without_schedule(example))
    same = [other for other in ticked(example) if other["scheduled_at"] == run["scheduled_at"]]
    if len(same) != 1:
        fail(f"{len(same)} runs are of the tick {run['scheduled_at']}")
    print(f"   {DOUBLES + 1} ticks for {run['scheduled_at']} are one run, {run['id']}")


def without_schedule(example: Example) -> Path:
    """The document, by which the schedule is deleted."""
    kept = [line for line in example.document.read_text().splitlines() if not line.startswith("schedule:")]
    document = example.work / "unscheduled.yaml"
    document.write_text("\n".join(kept) + "\n")
    return document


def ticked(example: Example) -> list[dict]:
    return [run for run in steps.recent(example.target) if is_of(run)]


def is_of(run: dict) -> bool:
    return run["pipeline"]["pipeline"] == PIPELINE and bool(run.get("scheduled_at"))
