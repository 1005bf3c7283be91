"""A pipeline that runs by itself once a minute and tells of it, and a tick that comes more than once."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

from .. import steps
from ..commands import outputs
from ..settings import fail
from ..steps import Example

PIPELINE = "every-minute"
# A minute, and what the local scheduler is late.
MOST_S = 150
DOUBLES = 2
# In which a wrong reaction would show.
SETTLE_S = 5
QUEUE = "fanfold-demo-notifications"
# What the document names in `notify`, as the event of it is called.
NOTIFIED = {"Run Succeeded"}
# What a notification takes at most.
TOLD_S = 60


def show(example: Example, _count: None) -> None:
    with notifications() as hear:
        run = by_itself(example)
        shown = steps.ended(example.target, run["id"])
        example.compare(shown)
        double(example, run)
        check_told(hear, run["id"])


def by_itself(example: Example) -> dict:
    """The first run of a tick."""
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
    return run


@contextmanager
def notifications():
    """A subscription to what pipelines ask to be told of; gives how the next events are asked for."""
    topic = outputs()["NotificationTopic"]
    url = steps.client("topics.py", "subscribe", topic, QUEUE)
    try:
        yield lambda: [json.loads(line) for line in steps.client("topics.py", "hear", url).splitlines()]
    finally:
        steps.client("topics.py", "leave", topic, url)


def check_told(hear, run: str) -> None:
    """That the topic was told what the document names, and nothing else of the run: it ended seconds ago."""
    print("-- what was told of it", flush=True)
    told, deadline = set(), time.monotonic() + TOLD_S
    while (heard := hear()) or (not told and time.monotonic() < deadline):
        told |= {event["detail-type"] for event in heard if event["detail"]["run"] == run}
    if told != NOTIFIED:
        fail(f"the topic was told {sorted(told)} of the run, and the document asks for {sorted(NOTIFIED)}")
    print(f"   {', '.join(sorted(told))}, and nothing else")


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
