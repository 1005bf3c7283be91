"""`scripts/demo`: the main job, watched, or an example."""

import argparse
import filecmp
import os
import sys
import time
from collections import Counter
from pathlib import Path

from . import demo_eks, examples
from .commands import outputs, running_port
from .counts import counted
from .settings import PROJECT, SERVER_LOG, STATE, fail, programs
from .steps import PIPELINE, ended, fanfold, objects, run_of, step

DEFAULTS = {"rows": 1_000_000, "on": "lambda", "style": "quoted"}


def main() -> None:
    parser = argparse.ArgumentParser("scripts/demo", description="A pipeline on a local AWS, from nothing: the main job, or an example.")
    parser.add_argument("--rows", type=int, default=DEFAULTS["rows"], help="records to generate (1000000)")
    parser.add_argument("--on", choices=["lambda", "eks"], default=DEFAULTS["on"], help="what does the chunks (lambda)")
    parser.add_argument("--style", choices=["plain", "quoted"], default=DEFAULTS["style"], help="how they are written (quoted)")
    names = ["orders", *examples.EXAMPLES]
    parser.add_argument("--example", choices=names, default="orders", help="another pipeline than the main job's")
    parser.add_argument("--count", type=int, help="images (500), orders that a third party is asked for (400), indexes (1000), or records of Python (50000)")
    parser.add_argument("--deployed", action="store_true", help="use what is deployed: neither build nor deploy anything")
    arguments = parser.parse_args()
    if wrong := misused(arguments):
        parser.error(wrong)
    target = deployed() if arguments.deployed else deploy(arguments.on, arguments.example)
    if arguments.example != "orders":
        return examples.show(arguments.example, target, arguments.count)
    work = STATE / "demo"
    work.mkdir(exist_ok=True)
    if arguments.on != "eks":
        examples.tell(PIPELINE)
    pipeline, prefix = demo_eks.prepare(target, work) if arguments.on == "eks" else (PIPELINE, "")
    source = work / f"sales-{arguments.rows}-{arguments.style}-{os.getpid()}.csv"
    sales = [target / "fanfold-sales", "--records", str(arguments.rows), "--style", arguments.style, source]
    step("generate", sales)
    before, cold_before = counted("requests"), cold_starts()
    run, seconds = follow(target, source, prefix)
    asked, cold = counted("requests") - before, cold_starts() - cold_before
    compare(target, source, pipeline, run, work)
    print_summary(run, seconds)
    print_requests(asked, cold)
    if arguments.on == "eks":
        demo_eks.print_shares(run)


def misused(arguments: argparse.Namespace) -> str | None:
    """What was asked for that has no effect there."""
    if arguments.example != "orders":
        for name, default in DEFAULTS.items():
            if getattr(arguments, name) != default:
                return f"--{name} is of the example orders, and {arguments.example} was asked for"
    if arguments.deployed and arguments.on == "eks":
        return "--deployed is of --on lambda: clusters are started here"
    if arguments.count is not None and arguments.example not in examples.COUNTED:
        return f"--count is of {', '.join(examples.COUNTED)}, and {arguments.example} was asked for"
    if arguments.count is not None and arguments.count < 1:
        return f"--count is {arguments.count}; at least 1"
    return None


def deploy(on: str, example: str) -> Path:
    """One build for all functions and the command line, deployed; where its programs are."""
    package = ["--with", examples.PACKAGES[example]()] if example in examples.PACKAGES else []
    step("build", [PROJECT / "scripts" / "build", *package])
    if on == "eks":
        # First: functions are told where clusters are when the local AWS starts.
        demo_eks.start_clusters()
    step("stack", [PROJECT / "scripts" / "stack", "up"])
    return programs(profile())


def deployed() -> Path:
    running_port()
    return programs(profile())


def profile() -> str:
    return os.environ.get("FANFOLD_PROFILE", "release")


def cold_starts() -> int:
    return SERVER_LOG.read_text().count("(cold start)")


def follow(target: Path, source: Path, prefix: str) -> tuple[dict, float]:
    """Uploads the source and shows its run until that ends; the run, and seconds from the upload's end on."""
    key = prefix + source.name
    print("-- upload", flush=True)
    objects("upload", source, outputs()["InputBucket"], key)
    began = time.monotonic()
    shown = ended(target, run_of(target, key))
    return shown, time.monotonic() - began


def compare(target: Path, source: Path, pipeline: Path, shown: dict, work: Path) -> None:
    """Fetches the output, and compares it with one sequential pass on this machine, byte for byte."""
    print("-- compare", flush=True)
    run = shown["run"]
    fetched, sequential = work / "output", work / "sequential"
    objects("download", run["output"]["bucket"], run["output"]["key"], fetched)
    pin = run["source"]
    name = f"s3://{pin['object']['bucket']}/{pin['object']['key']}@{pin['version'] or pin['etag']}"
    began = time.monotonic()
    fanfold(target, "local", source, "--pipeline", pipeline, "--sequential", "--source", name, "--output", sequential)
    print(f"   one sequential pass: {time.monotonic() - began:.1f} s")
    if not filecmp.cmp(fetched, sequential, shallow=False):
        fail(f"the output differs from a sequential pass: compare {fetched} with {sequential}")
    print(f"   the output is byte for byte that of a sequential pass ({fetched.stat().st_size} bytes)")
    for file in (source, fetched, sequential):
        file.unlink()


def print_summary(shown: dict, seconds: float) -> None:
    run, progress = shown["run"], shown["progress"]
    sums = progress["sums"]
    print("-- done")
    print(f"   run        {run['id']}")
    print(f"   records    {sums['records']}, {sums['bad_records']} of them bad")
    print(f"   chunks     {progress['chunks']} in {progress['groups']} groups")
    print(f"   in, out    {sums['bytes_in']} bytes, {run['sums']['bytes_out']} bytes")
    print(f"   run took   {(run['updated_at'] - run['created_at']) / 1000:.1f} s; {seconds:.1f} s from upload to output")


def print_requests(asked: Counter[str], cold: int) -> None:
    print(f"   requests   {asked.total()} by the functions, of which {cold} were started cold")
    for service in sorted({name.split()[0] for name in asked}):
        names = [(name.split()[1], count) for name, count in asked.most_common() if name.split()[0] == service]
        print(f"              {service}: {', '.join(f'{name} {count}' for name, count in names)}")
    sys.stdout.flush()
