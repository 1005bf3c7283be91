"""`scripts/demo --example NAME`: pipelines of examples/, each run on the local AWS, its result checked and shown."""

from pathlib import Path

from .. import steps
from ..settings import PROJECT, STATE
from . import images, n_to_n, python, schedule, third_party

EXAMPLES = {
    "n-to-n": n_to_n.show,
    "images": images.show,
    "third-party": third_party.show,
    "schedule": schedule.show,
    "python": python.show,
}

# What goes into the worker's package, of those that bring a program along.
PACKAGES = {"python": python.package}

# Those whose data may be less or more.
COUNTED = ("images", "third-party", "n-to-n", "python")


def show(name: str, target: Path, count: int | None) -> None:
    """Runs an example on the stack, which is up; `count` is how much of its data, if not as much as it has."""
    work = STATE / name
    work.mkdir(exist_ok=True)
    document = PROJECT / "examples" / f"{name}.yaml"
    tell(document)
    EXAMPLES[name](steps.Example(target, document, work), count)


def tell(document: Path) -> None:
    """Prints a pipeline's document."""
    print(f"-- {document.relative_to(PROJECT)}\n{document.read_text().rstrip()}", flush=True)
