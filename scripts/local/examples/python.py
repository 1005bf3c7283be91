"""A Python program on sales records, which is in the worker's package with its Python, and uses nothing of the machine's.

Functions are processes of this machine here, so that they could: where program and libraries come from is looked at in a
run of its own.
"""

import csv
import filecmp
import json
import os
import shutil
import subprocess
from pathlib import Path

from .. import steps
from ..commands import outputs
from ..settings import DIST, PROJECT, SERVER_LOG, fail
from ..steps import Example

COUNT = 50_000
# As the document says.
PREFIX = "python/"
PROGRAM = PROJECT / "examples" / "python" / "margin.py"
BAD = "no number"

# Goes on as the program that it is given, with a PATH of the package alone.
ALONE = """\
import os, sys
given = os.environ["PATH"]
os.environ |= {"PATH": ":".join(given.split(":")[:2]), "GIVEN": given}
os.execvp("python3", ["python3", "-c", sys.argv[1]])
"""
# What it has to say of itself: a line of JSON.
LOOK = """\
import json, os, shutil, sys
mapped = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if " r-xp " in line and "/" in line}
names = ("GIVEN", "HOME", "TMPDIR", "LANG", "FANFOLD_ATTEMPT")
own = {name: os.environ[name] for name in names}
print(json.dumps({"python": shutil.which("python3"), "folder": os.getcwd(), "mapped": sorted(mapped)} | own))
print("looked", file=sys.stderr)
"""


def package() -> Path:
    """The folder that goes into the worker's package, made as README says it."""
    folder = DIST / "python-example"
    steps.step("package", [PROJECT / "scripts" / "bundle-python", folder])
    shutil.copy(PROGRAM, folder)
    return folder


def show(example: Example, count: int | None) -> None:
    deployed = DIST / "worker"
    if not (deployed / PROGRAM.name).is_file():
        fail("the worker's package has no examples/python/margin.py: run scripts/demo --example python without --deployed")
    source = example.work / f"sales-{os.getpid()}.csv"
    steps.step("generate", [example.target / "fanfold-sales", "--records", count or COUNT, "--style", "quoted", source])
    spoil(source)
    example.apply()
    print("-- upload", flush=True)
    key = PREFIX + source.name
    steps.objects("upload", source, outputs()["InputBucket"], key)
    shown = steps.ended(example.target, steps.run_of(example.target, key))
    compare(example, source, shown, deployed)
    look(example)
    source.unlink()


def spoil(source: Path) -> None:
    """Adds a record that is a bad one to the program."""
    with open(source, "r+", newline="") as file:
        header = next(csv.reader(file))
        file.seek(0, os.SEEK_END)
        csv.writer(file).writerow([BAD] * len(header))


def compare(example: Example, source: Path, shown: dict, deployed: Path) -> None:
    """With a sequential pass on this machine, in the same package, and with a PATH that leads nowhere else."""
    print("-- compare", flush=True)
    fetched, sequential = example.output(shown), example.work / "sequential"
    words = ["local", source, "--pipeline", example.document, "--with", deployed, "--sequential", "--output", sequential]
    command = [str(word) for word in [example.target / "fanfold", *words]]
    done = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.stderr.strip())
    if not filecmp.cmp(fetched, sequential, shallow=False):
        fail(f"the output differs from a sequential pass: compare {fetched} with {sequential}")
    bad = shown["run"]["sums"]["bad_records"]
    if bad != 1:
        fail(f"{bad} bad records were listed, and there is one")
    with open(fetched) as lines:
        first = next(lines).strip()
    print(f"   {first}\n   ... byte for byte what one pass gives with an empty PATH, and the bad record is listed", flush=True)


def look(example: Example) -> None:
    """Where a program of the package is by a PATH of the package alone, what it maps, and what its environment and its line
    in the log say."""
    stage = {"name": "look", "command": ["python3", "-c", ALONE, LOOK]}
    document = example.work / "look.json"
    merge = {"key": "{key}-{run}_Output"}
    document.write_text(json.dumps({"pipeline": "python-look", "source": {"range": {"count": 1}}, "stages": [stage], "merge": merge}))
    example.apply(document)
    shown, _ = example.run("python-look")
    said = json.loads(example.output(shown).read_text())
    folder = said["folder"]
    if said["python"] != f"{folder}/bin/python3" or not said["GIVEN"].startswith(f"{folder}/bin:{folder}:"):
        fail(f"python3 is {said['python']}, by the PATH {said['GIVEN']}, and not the package's in {folder}")
    if foreign := [path for path in said["mapped"] if not path.startswith(f"{folder}/")]:
        fail(f"of this machine it uses {', '.join(foreign)}")
    given = {name: said[name] for name in ("LANG", "FANFOLD_ATTEMPT")}
    if given != {"LANG": "C.UTF-8", "FANFOLD_ATTEMPT": "1"} or said["HOME"] != said["TMPDIR"] or Path(said["HOME"]).exists():
        fail(f"the environment is not the documented one: {said}")
    lines = [json.loads(line) for line in SERVER_LOG.read_text(errors="replace").splitlines()
             if shown["run"]["id"] in line and "command stderr" in line]
    of = {"run_id": shown["run"]["id"], "stage": "look", "chunk": 0, "attempt": 1}
    if not any(of.items() <= span.items() for line in lines for span in line["spans"]):
        fail(f"no line of its stderr is in the log with {of}")
    print("   Python and its libraries are the package's alone; its line in the log names run, stage, chunk and attempt", flush=True)
