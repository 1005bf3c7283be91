"""The part of `scripts/bench` about the Distributed Map: beside the queue, and beside what a user of Step Functions does
today, who has it read the CSV and hand out its rows; and what it costs by itself.
"""

import io
import json
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from . import bench_images, demo, end_to_end, steps
from .commands import outputs
from .counts import counted
from .settings import STATE, programs

ROWS = """\
| {records} sales records, on the local AWS | s | CPU s | requests | functions | what comes out |
|---|---|---|---|---|---|"""
IMAGES = """\
| {images} photographs, a Map of batches of | done | s | CPU s | requests |
|---|---|---|---|---|"""
# How many may run at once.
AT_ONCE = 8
# Rows of a native batch, as far as its bytes allow.
NATIVE_BATCH = 1000
FAN_OUTS = {"fanfold, SQS": "sqs", "fanfold, Distributed Map": "distributed-map"}
# Results of its own each time: one that is there is not made again.
PROCESSES = {
    "resized": 'resize, with: {{ size: 800x600, quality: 82, key: "resized/{batch}/{{key}}" }}',
    "copied": "copy",
}
BATCHES = (100, 10)


@dataclass
class Taken:
    """What one way took; requests are those of our functions, and of the native way those of its."""

    way: str
    seconds: float
    cpu_s: float
    requests: int


def main(work: Path, records: int, source: Path, to: Path | None) -> None:
    target = programs("release")
    end_to_end.begin()
    found = rows(target, records, source) + images(target, work)
    end_to_end.end()
    if to:
        to.write_text(json.dumps({"maps": [asdict(taken) for taken in found]}, indent=2) + "\n")


def rows(target: Path, records: int, source: Path) -> list[Taken]:
    print(f"\n{ROWS.format(records=records)}", flush=True)
    found = []
    for way, fan_out in FAN_OUTS.items():
        name = fan_out.replace("distributed-", "by-")
        apply(target, f"""\
pipeline: {name}
source: {{ prefix: {name}/, format: csv, header: true }}
split: {{ records: 30000 }}
fan_out: {fan_out}
stages: [{{ name: confirm, process: orders, max_concurrency: {AT_ONCE}, timeout: 30s }}]
merge: {{ header: "orderid,confirmationid" }}
""")
        # The first one starts the functions.
        for time in range(2):
            taken, shown = measured(way, lambda: demo.follow(target, source, f"{name}/{time}/"))
        found.append(taken)
        told(taken, f"{shown['progress']['chunks']} chunks", "one object, in order")
    found.append(native(source))
    return found


def native(source: Path) -> Taken:
    bucket = outputs()["WorkBucket"]
    steps.objects("upload", source, bucket, source.name)

    def run() -> tuple[dict, float]:
        said = json.loads(steps.client("native_map.py", "run", bucket))
        return said, said["seconds"]

    steps.client("native_map.py", "deploy", bucket, source.name, str(NATIVE_BATCH), str(AT_ONCE))
    for _ in range(2):
        taken, said = measured(f"Step Functions' own, {NATIVE_BATCH} rows a batch", run)
    told(taken, f"{said['children']} children", f"{said['rows']} rows in {said['parts']} objects, to be joined")
    return taken


def told(taken: Taken, functions: str, result: str) -> None:
    print(f"| {taken.way} | {taken.seconds:.1f} | {taken.cpu_s:.1f} | {taken.requests} | {functions} | {result} |", flush=True)


def images(target: Path, work: Path) -> list[Taken]:
    for done, batch in product(PROCESSES, BATCHES):
        apply(target, document(done, batch))
    # Not before: what is listed by none of them starts the stack's own pipeline.
    steps.objects("upload-all", bench_images.photographs(work), outputs()["InputBucket"], "images/")
    print(f"\n{IMAGES.format(images=bench_images.COUNT)}", flush=True)
    found = []
    example = steps.Example(target, Path(), STATE)
    for done, batch in product(PROCESSES, BATCHES):
        taken, _ = measured(f"{done} {batch}", lambda: example.run(f"images-{done}-{batch}"))
        print(f"| {batch} | {done} | {taken.seconds:.1f} | {taken.cpu_s:.1f} | {taken.requests} |", flush=True)
        found.append(taken)
    return found + orchestration()


def orchestration() -> list[Taken]:
    """The same numbers of children of a function that does nothing at all."""
    steps.client("native_map.py", "deploy-nothing", str(AT_ONCE))
    found = []
    for batch in BATCHES:
        children = bench_images.COUNT // batch

        def run() -> tuple[dict, float]:
            said = json.loads(steps.client("native_map.py", "run-nothing", str(children)))
            return said, said["seconds"]

        # The first one starts the functions.
        for _ in range(2):
            taken, _ = measured(f"an empty function, {children} children", run)
        print(f"| {batch} | an empty function | {taken.seconds:.1f} | {taken.cpu_s:.1f} | {taken.requests} |", flush=True)
        found.append(taken)
    return found


def document(done: str, batch: int) -> str:
    return f"""\
pipeline: images-{done}-{batch}
source: {{ prefix: images/, suffix: .jpg, format: objects }}
split: {{ records: {batch} }}
fan_out: {{ distributed-map: {{ batch: 1 }} }}
stages: [{{ name: {done}, process: {PROCESSES[done].format(batch=batch)}, max_concurrency: {AT_ONCE} }}]
"""


def apply(target: Path, text: str) -> None:
    document = STATE / "bench.yaml"
    document.write_text(text)
    steps.fanfold(target, "pipelines", "apply", document)


def measured(way: str, run) -> tuple[Taken, dict]:
    """Runs it quietly; `run` gives what it found, and the seconds."""
    asked, cpu = counted("requests"), end_to_end.cpu_s()
    with redirect_stdout(io.StringIO()):
        shown, seconds = run()
    return Taken(way, seconds, end_to_end.cpu_s() - cpu, (counted("requests") - asked).total()), shown
