"""`scripts/demo --on eks`: the main job on two test clusters, which share it one to three."""

import json
import subprocess
from pathlib import Path

from . import steps
from .settings import DIST, PROJECT, REGION

CLUSTER = PROJECT / "scripts" / "cluster"
WEIGHTS = {"one": 1, "two": 3}
PREFIX = "eks/"


def start_clusters() -> None:
    steps.step("clusters", [CLUSTER, "up", "--clusters", len(WEIGHTS)])


def prepare(target: Path, work: Path) -> tuple[Path, str]:
    """Gives the clusters the worker's image, and the stack the clusters and a pipeline; its document and prefix."""
    archive = worker_archive()
    steps.step("image", [CLUSTER, "load", archive])
    for name, weight in WEIGHTS.items():
        declare(target, work, name, weight, image_of(archive))
    pipeline = steps.PIPELINE.read_text()
    pipeline = pipeline.replace("pipeline: orders", "pipeline: orders-eks").replace(
        "source: {", f"source: {{ prefix: {PREFIX},"
    ).replace("    process: orders", "    run_on: eks\n    max_concurrency: 16\n    resources: { cpu: 50m, memory: 128MiB }\n    process: orders")
    document = work / "orders-eks.yaml"
    document.write_text(pipeline)
    steps.fanfold(target, "pipelines", "apply", document)
    return document, PREFIX


def worker_archive() -> Path:
    """What scripts/build made of the worker."""
    return next(DIST.glob("worker-*.tar"))


def image_of(archive: Path) -> str:
    return f"fanfold.local/worker:{archive.stem.removeprefix('worker-')}"


def declare(target: Path, work: Path, name: str, weight: int, image: str) -> None:
    document = work / f"cluster-{name}.yaml"
    document.write_text(json.dumps({"cluster": name, "region": REGION, "weight": weight, "worker_image": image}))
    steps.fanfold(target, "clusters", "apply", document)


def print_shares(shown: dict) -> None:
    run = shown["run"]["id"]
    for name, weight in WEIGHTS.items():
        launches = [launch for launch in shown["launches"] if launch["cluster"] == name]
        jobs, pods = (count(name, kind, run) for kind in ("jobs", "pods"))
        print(f"   {name:<10} weight {weight}: {len(launches)} launches, {jobs} Jobs, {pods} pods")


def count(cluster: str, kind: str, run: str) -> int:
    """How many of a kind there are of a run, as the cluster itself says."""
    command = [CLUSTER, "kubectl", cluster, "get", kind, "-n", "fanfold", "-l", f"fanfold.dev/run={run}", "-o", "name"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
