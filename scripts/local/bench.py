"""`scripts/bench`: CPU seconds of all processes, wall seconds, and the most memory one of them held."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from . import bench_eks, bench_images, bench_maps, bench_stages, end_to_end
from .end_to_end import EndToEnd
from .settings import PROJECT, cache, fail, programs

PIPELINES = {
    "orders": {"pipeline": "orders", "source": {"format": "csv", "header": True}, "split": {"records": 30000},
               "stages": [{"name": "confirm", "process": "orders"}], "merge": {"header": "orderid,confirmationid"}},
    "copy": {"pipeline": "copy", "source": {"format": "csv", "header": True}, "split": {"size": "16MiB"},
             "stages": [{"name": "copy", "process": "copy"}]},
    "index": {"pipeline": "index", "source": {"format": "jsonl"}, "split": {"size": "4MiB"},
              "stages": [{"name": "index", "process": "index"}]},
    "lines": {"pipeline": "lines", "source": {"format": "lines"}, "split": {"size": "16MiB"},
              "stages": [{"name": "copy", "process": "copy"}]},
}
PYTHON = """
import csv, sys, uuid
with open(sys.argv[1], newline="") as source, open(sys.argv[2], "w") as out:
    rows = csv.reader(source)
    next(rows)
    out.write("orderid,confirmationid\\n")
    for number, row in enumerate(rows):
        out.write(f"{row[6]},{uuid.uuid5(uuid.NAMESPACE_OID, str(number))}\\n")
"""


@dataclass
class Figure:
    """What one command took: the median of some runs."""

    name: str
    records: int
    bytes: int
    cpu_s: float
    wall_s: float
    rss_mib: float

    def row(self) -> str:
        rate = self.records / self.cpu_s if self.cpu_s else 0
        return (f"| {self.name} | {self.cpu_s:.2f} | {self.wall_s:.2f} | {rate / 1e6:.2f} "
                f"| {self.bytes / self.cpu_s / 1e9:.2f} | {self.rss_mib:.0f} |")


class Bench:
    def __init__(self, records: int, runs: int, work: Path):
        self.records, self.runs, self.work = records, runs, work
        self.figures: list[Figure] = []
        self.end_to_end: list[EndToEnd] = []
        self.programs = programs("release")
        if subprocess.run([PROJECT / "scripts" / "build"], cwd=PROJECT).returncode != 0:
            fail("the build failed")
        for name, document in PIPELINES.items():
            (work / f"{name}.yaml").write_text(json.dumps(document))

    def data(self, style: str, records: int | None = None) -> Path:
        records = records or self.records
        path = self.work / f"{style}-{records}.csv"
        if not path.exists():
            command = [self.programs / "fanfold-sales", "--records", str(records), "--style", style, path]
            subprocess.run(command, check=True)
        subprocess.run(["cat", path], check=True, stdout=subprocess.DEVNULL)  # into the page cache
        return path

    def measure(self, name: str, source: Path, *command: object) -> None:
        samples = [once([str(word) for word in command], self.work) for _ in range(self.runs)]
        middle = lambda place: statistics.median(sample[place] for sample in samples)  # noqa: E731
        figure = Figure(name, self.records, source.stat().st_size, middle(0), middle(1), middle(2))
        self.figures.append(figure)
        print(figure.row(), flush=True)

    def local(self, name: str, pipeline: str, source: Path, *options: str) -> None:
        out = self.work / "out"
        command = [self.programs / "fanfold", "local", source, "--pipeline", self.work / f"{pipeline}.yaml"]
        self.measure(name, source, *command, "--output", out, *options)

    def plan(self, name: str, pipeline: str, source: Path) -> None:
        command = [self.programs / "fanfold", "plan", source, "--pipeline", self.work / f"{pipeline}.yaml"]
        self.measure(name, source, *command)
        said = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
        print(f"  reads {100 * said['bytes_read'] / source.stat().st_size:.4f} % of the file", flush=True)

    def parallel(self, source: Path) -> None:
        """The usual way: cut by bytes at line ends, and hope that no field has one."""
        if not shutil.which("parallel"):
            print("  GNU parallel is not installed: not measured", flush=True)
            return
        script = self.work / "confirm.py"
        script.write_text("import csv,sys,uuid\nfor row in csv.reader(sys.stdin):\n"
                          "    print(f'{row[6]},{uuid.uuid5(uuid.NAMESPACE_OID, row[6])}')\n")
        shell = (f"tail -n +2 {source} > {self.work}/body && parallel --pipepart --block 4M -k "
                 f"-a {self.work}/body {sys.executable} {script} > {self.work}/out")
        self.measure("GNU parallel --pipepart and Python", source, "bash", "-c", shell)

    def on_the_stack(self, sizes: list[int]) -> None:
        print(f"\n{end_to_end.HEADER}", flush=True)
        end_to_end.begin()
        # The first one starts the functions.
        for place, records in enumerate([200, *sizes]):
            found = end_to_end.measure(self.programs, self.data("quoted", records), records, f"{place}/")
            self.end_to_end.append(found)
            print(found.row(), flush=True)
        end_to_end.end()
        print(f"\n{end_to_end.ABOUT}", flush=True)


def once(command: list[str], work: Path) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and MiB of the largest process of one run."""
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, work / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)])
    _, status, used = os.wait4(pid, 0)
    if status != 0:
        fail(f"{command[0]} failed: {(work / 'stderr').read_text()}")
    return used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser("scripts/bench", description="Fanfold beside what a user would do without it.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="records to generate (1000000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command; the median counts (5)")
    parser.add_argument("--no-stack", action="store_true", help="leave out the runs on the local AWS")
    parser.add_argument("--on-eks", action="store_true", help="also a test cluster, beside a Job by hand")
    parser.add_argument("--images", action="store_true", help="only images, beside libvips")
    parser.add_argument("--stages", action="store_true", help="only three stages over 10,000 indexes")
    parser.add_argument("--maps", action="store_true", help="only the Distributed Map, beside SQS and its own CSV reader")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    work = cache() / "bench"
    work.mkdir(parents=True, exist_ok=True)
    if arguments.images:
        bench_images.main(work, arguments.runs, arguments.json)
        return
    bench = Bench(arguments.rows, arguments.runs, work)
    if arguments.stages:
        bench_stages.main(bench.data("plain", bench_stages.SMALL_ROWS))
        return
    if arguments.maps:
        bench_maps.main(work, arguments.rows, bench.data("plain"), arguments.json)
        return
    plain, quoted, jsonl = (bench.data(style) for style in ("plain", "quoted", "jsonl"))
    print("| command | CPU s | wall s | M records a CPU s | GB a CPU s | MiB |\n|---|---|---|---|---|---|", flush=True)
    for name, source in (("plain", plain), ("quoted", quoted)):
        bench.local(f"fanfold local, orders, {name}", "orders", source)
        bench.local(f"fanfold local --sequential, orders, {name}", "orders", source, "--sequential")
        bench.local(f"fanfold local, copy, {name}", "copy", source)
        bench.plan(f"fanfold plan by records, {name}", "orders", source)
        bench.plan(f"fanfold plan by size, {name}", "copy", source)
    bench.local("fanfold local, index, jsonl", "index", jsonl)
    bench.local("fanfold local, copy, lines", "lines", jsonl)
    bench.plan("fanfold plan by size, lines", "lines", jsonl)
    for name, source in (("plain", plain), ("quoted", quoted)):
        bench.measure(f"csv crate, one pass, {name}", source, bench.programs / "fanfold-baseline", source, work / "out")
    bench.measure("Python csv, one pass, quoted", quoted, sys.executable, "-c", PYTHON, quoted, work / "out")
    bench.parallel(plain)
    if not arguments.no_stack:
        bench.on_the_stack([200, arguments.rows, 2 * arguments.rows])
    if arguments.on_eks:
        bench_eks.measure(bench.programs, work)
    if arguments.json:
        found = {"commands": bench.figures, "end_to_end": bench.end_to_end}
        rows = {part: [asdict(figure) for figure in figures] for part, figures in found.items()}
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
