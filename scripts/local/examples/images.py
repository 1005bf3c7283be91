"""Generated photographs under a prefix, made smaller: each looked for, and all of them on one sheet."""

import json
import shutil
from pathlib import Path

from .. import steps
from ..commands import outputs
from ..settings import PROJECT, fail
from ..steps import Example

COUNT = 500
# As the document says.
PREFIX = "images/"
BOX = (320, 240)
RESULTS = "resized/images/"


def show(example: Example, count: int | None) -> None:
    count = count or COUNT
    photos, small = example.work / "photos", example.work / "small"
    for folder in (photos, small):
        shutil.rmtree(folder, ignore_errors=True)
    steps.step("generate", [example.target / "fanfold-photos", "--count", count, photos])
    # First: what it lists starts no other pipeline.
    example.apply()
    print("-- upload", flush=True)
    steps.objects("upload-all", photos / "images", outputs()["InputBucket"], PREFIX)
    shown, seconds = example.run("images")
    lines = [json.loads(line) for line in example.output(shown).read_text().splitlines()]
    steps.objects("download-all", outputs()["OutputBucket"], RESULTS, small)
    check(lines, [f"{PREFIX}{photo.name}" for photo in sorted((photos / "images").iterdir())], small)
    sheet = example.work / "contact-sheet.jpg"
    steps.step("contact sheet", [example.target / "fanfold-contact-sheet", small, sheet])
    read = sum(photo.stat().st_size for photo in (photos / "images").iterdir())
    shutil.rmtree(photos)
    written = sum(line["bytes"] for line in lines)
    print(f"   {len(lines)} images of {read / 1e6:.1f} MB became {written / 1e6:.1f} MB in {seconds:.1f} s")
    print(f"   all of them: {sheet.relative_to(PROJECT)}")


def check(lines: list[dict], wanted: list[str], small: Path) -> None:
    """A line each, in the order of the names; a file each, as the line says."""
    print("-- check", flush=True)
    if [line["source"] for line in lines] != wanted:
        fail(f"the output has {len(lines)} lines that are not the {len(wanted)} images in the order of their names")
    for line in lines:
        file = small / line["key"].removeprefix(RESULTS)
        if not file.is_file() or file.stat().st_size != line["bytes"]:
            fail(f"{line['key']} is not there as the output says")
        if line["width"] > BOX[0] or line["height"] > BOX[1]:
            fail(f"{line['key']} is {line['width']}x{line['height']}, larger than {BOX[0]}x{BOX[1]}")
    print(f"   a line and a file of each image, in order, none larger than {BOX[0]}x{BOX[1]}", flush=True)
