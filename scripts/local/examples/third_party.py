"""A third party that fails one request in ten and counts: asked once for each order, and never too often."""

import csv
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from .. import steps
from ..commands import outputs
from ..settings import PROJECT, fail
from ..steps import Example

COUNT = 400
# As the document says.
PREFIX = "third-party/"
PORT = 8099
PER_SECOND = 20
# What may come too early on its way: 100 ms.
TOLERATED = PER_SECOND // 10
LEAST_USED = 0.9


def show(example: Example, count: int | None) -> None:
    source = example.work / f"sales-{os.getpid()}.csv"
    steps.step("generate", [example.target / "fanfold-sales", "--records", count or COUNT, source])
    example.apply()
    with third_party() as figures:
        print("-- upload", flush=True)
        key = PREFIX + source.name
        steps.objects("upload", source, outputs()["InputBucket"], key)
        shown = steps.ended(example.target, steps.run_of(example.target, key))
        found = figures()
    check_output(source, example.output(shown))
    check_figures(found, count or COUNT)
    source.unlink()


@contextmanager
def third_party():
    """Its process, ended in any case; gives how its figures are asked for."""
    program = [sys.executable, PROJECT / "scripts" / "local" / "third_party.py", "--port", str(PORT)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            if not address:
                fail(f"the third party did not start: is port {PORT} taken?")
            yield lambda: json.loads(urllib.request.urlopen(f"{address}/figures").read())
        finally:
            process.terminate()


def check_output(source: Path, output: Path) -> None:
    """What was answered of each order, in their order."""
    print("-- check", flush=True)
    with open(source, newline="") as file:
        wanted = [record["Order ID"] for record in csv.DictReader(file)]
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    if [answer["order"] for answer in answers] != wanted or not all(answer["confirmed"] for answer in answers):
        fail(f"{output} is not a confirmation of each order, in their order")
    print(f"   a confirmation of each of {len(wanted)} orders, in their order")


def check_figures(found: dict, count: int) -> None:
    per_second = found["requests"] / max(found["seconds"], 1)
    print(f"   {found['requests']} requests, of which {found['failed']} failed and were made again under the same key")
    print(f"   {per_second:.1f} a second, at most {found['most_in_a_second']} in any second; {PER_SECOND} are allowed")
    if found["keys"] != count or found["confirmed"] != count:
        fail(f"{found['confirmed']} requests under {found['keys']} keys were confirmed, and there are {count} orders")
    if found["most_in_a_second"] > PER_SECOND + TOLERATED:
        fail("more than are allowed came within a second")
    if found["seconds"] > 10 and per_second < LEAST_USED * PER_SECOND:
        fail(f"less than {LEAST_USED:.0%} of what is allowed was used")
