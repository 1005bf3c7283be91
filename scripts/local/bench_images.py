"""The part of `scripts/bench` that resizes photographs: ours beside libvips, each on one core, one image after the other.

Same files, same box, same quality, same kernel (Lanczos, three lobes), files into memory and results onto disk. The
first of them also brings the photographs into the page cache, so that each is run once before it counts.
"""

import json
import os
import statistics
import subprocess
from pathlib import Path

from . import venvs
from .settings import PROJECT, fail, programs

COUNT = 500
SIZE = (800, 600)
QUALITY = 82
HEADER = f"""\
| {COUNT} photographs to {SIZE[0]}x{SIZE[1]}, one core | CPU s | ms an image | MB written | MiB |
|---|---|---|---|---|"""
# What libvips' own command does, in one process: starting one for each image would take longer than the image.
VIPS = """
import os, sys
import pyvips
images, out, width, height, quality = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
os.makedirs(out, exist_ok=True)
pyvips.cache_set_max(0)
for name in sorted(os.listdir(images)):
    with open(f"{images}/{name}", "rb") as file:
        read = file.read()
    image = pyvips.Image.thumbnail_buffer(read, width, height=height, size="down")
    with open(f"{out}/{name}", "wb") as file:
        file.write(image.jpegsave_buffer(Q=quality, optimize_coding=True, keep="icc"))
"""


def measure(work: Path, runs: int) -> list[dict]:
    """Prints the table; gives its figures."""
    own = build()
    images = photographs(work)
    box = "x".join(map(str, SIZE))
    commands = {
        "fanfold": [own / "examples" / "resize", images, work / "resized-fanfold", box, str(QUALITY)],
        "libvips (pyvips)": [venvs.python_of("images"), "-c", VIPS, images, work / "resized-libvips",
                             *map(str, SIZE), str(QUALITY)],
    }
    print(f"\n{HEADER}", flush=True)
    return [figure(name, command, runs) for name, command in commands.items()]


def build() -> Path:
    """The folder of the programs that this needs."""
    # CARGO_TARGET_DIR is set by this.
    target = programs("release")
    for wanted in (["-p", "fanfold-images", "--example", "resize"], ["-p", "fanfold-tests", "--bin", "fanfold-photos"]):
        command = ["bash", "-c", '. scripts/lib/cache && cargo build --release --locked "$@"', "build", *wanted]
        if subprocess.run(command, cwd=PROJECT).returncode != 0:
            fail("the build failed")
    return target


def photographs(work: Path) -> Path:
    place = work / f"photos-{COUNT}"
    if not (place / "images.jsonl").exists():  # written last
        subprocess.run([programs("release") / "fanfold-photos", "--count", str(COUNT), place], check=True)
    return place / "images"


def figure(name: str, command: list, runs: int) -> dict:
    taken = [once(command) for _ in range(runs + 1)][1:]
    out = Path(command[command.index(next(part for part in command if "resized-" in str(part)))])
    written = sum(file.stat().st_size for file in out.iterdir())
    cpu_s = statistics.median(cpu for cpu, _ in taken)
    found = {"name": name, "images": COUNT, "cpu_s": cpu_s, "bytes": written, "rss_mib": max(rss for _, rss in taken)}
    print(f"| {name} | {cpu_s:.2f} | {1e3 * cpu_s / COUNT:.1f} | {written / 1e6:.1f} | {found['rss_mib']:.0f} |", flush=True)
    return found


def once(command: list) -> tuple[float, float]:
    """CPU seconds and MiB of one run, on one core."""
    core = {min(os.sched_getaffinity(0))}
    process = subprocess.Popen([str(part) for part in command], env=os.environ | {"VIPS_CONCURRENCY": "1"},
                               preexec_fn=lambda: os.sched_setaffinity(0, core))
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        fail(f"{command[0]} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main(work: Path, runs: int, to: Path | None) -> None:
    figures = measure(work, runs)
    if to:
        to.write_text(json.dumps({"images": figures}, indent=2) + "\n")
