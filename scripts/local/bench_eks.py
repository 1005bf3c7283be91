"""The part of `scripts/bench` that is run on a test cluster: what a launch costs beside a Job by hand.

Both Jobs are of the same image on the same cluster, with as many pods; the one by hand does nothing. From its creation
to the first pod's start, and pods a second from that start to the last pod's end; of the run also from its event, with
planning, to the first pod's start. Kubernetes tells whole seconds.
"""

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path

from . import demo, demo_eks, steps
from .settings import PROJECT, fail

PODS = 48
AT_ONCE = 8
LINES = 4096
HEADER = """\
| on one cluster, {pods} pods, {at_once} at once | to the first pod, s | pods a second | worker MiB | from the event, s |
|---|---|---|---|---|"""
DOCUMENT = """\
pipeline: bench-eks
source: {{ prefix: bench-eks/, format: lines }}
split: {{ size: 1KiB }}
stages:
  - {{ name: s, run_on: eks, process: copy, max_concurrency: {at_once}, chunks_per_pod: 1,
       resources: {{ cpu: 20m, memory: 128MiB }} }}
"""


def measure(programs: Path, work: Path) -> None:
    demo_eks.start_clusters()
    subprocess.run([PROJECT / "scripts" / "stack", "down"], check=True, stdout=subprocess.DEVNULL)
    if subprocess.run([PROJECT / "scripts" / "stack", "up"], stdout=subprocess.DEVNULL).returncode != 0:
        fail("the stack could not be started")
    archive = demo_eks.worker_archive()
    print(f"\nworker's image: {archive.stat().st_size / 2**20:.1f} MiB\n\n{HEADER.format(pods=PODS, at_once=AT_ONCE)}", flush=True)
    subprocess.run([demo_eks.CLUSTER, "load", archive, "one"], check=True)
    print(f"| by hand | {row(*by_hand(demo_eks.image_of(archive)))} | | |", flush=True)
    print(f"| a launch | {launched(programs, work, archive)} |", flush=True)
    subprocess.run([PROJECT / "scripts" / "stack", "down"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([demo_eks.CLUSTER, "down"], check=True, stdout=subprocess.DEVNULL)


def by_hand(image: str) -> tuple[float, float, float]:
    container = {"name": "worker", "image": image, "command": ["/fanfold-worker", "install", "/tmp"],
                 "resources": {"requests": {"cpu": "20m"}}, "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "by-hand"}, "spec": {
        "completionMode": "Indexed", "completions": PODS, "parallelism": AT_ONCE, "template": {"spec": pod}}}
    kubectl("create", "--filename", "-", text=json.dumps(job))
    while kubectl("get", "job", "by-hand", "--output", "jsonpath={.status.succeeded}") != str(PODS):
        time.sleep(1)
    found = times("batch.kubernetes.io/job-name=by-hand")
    kubectl("delete", "job", "by-hand")
    return found


def launched(programs: Path, work: Path, archive: Path) -> str:
    demo_eks.declare(programs, work, "one", 1, demo_eks.image_of(archive))
    document = work / "bench-eks.yaml"
    document.write_text(DOCUMENT.format(at_once=AT_ONCE))
    steps.fanfold(programs, "pipelines", "apply", document)
    source = work / "bench-eks.txt"
    source.write_text("".join(f"line {n:>6}\n" for n in range(LINES)))
    shown, _ = demo.follow(programs, source, "bench-eks/")
    label = f"fanfold.dev/run={shown['run']['id']}"
    created, first, rate = times(label)
    from_event = first - shown["run"]["created_at"] / 1000
    return f"{row(created, first, rate)} | {resident_mib(label)} | {from_event:.0f}"


def times(label: str) -> tuple[float, float, float]:
    """When the first Job was created and the first pod started, in seconds, and pods a second from there on."""
    # The last part is there a moment before its pod has ended.
    while any("terminated" not in pod["status"]["containerStatuses"][0]["state"] for pod in items("pods", label)):
        time.sleep(1)
    created = min(moment(item["metadata"]["creationTimestamp"]) for item in items("jobs,pods", label))
    pods = items("pods", label)
    ended = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in pods]
    first = min(moment(end["startedAt"]) for end in ended)
    last = max(moment(end["finishedAt"]) for end in ended)
    return created, first, len(pods) / max(last - first, 1)


def items(kinds: str, label: str) -> list[dict]:
    return json.loads(kubectl("get", kinds, "--selector", label, "--output", "json"))["items"]


def row(created: float, first: float, rate: float) -> str:
    return f"{first - created:.0f} | {rate:.1f}"


def resident_mib(label: str) -> str:
    """The most that a worker had resident, as each says at its end."""
    logs = kubectl("logs", "--selector", label, "--tail", "-1", "--prefix=false", "--max-log-requests", "100")
    said = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    return f"{max((line['resident_kib'] for line in said if 'resident_kib' in line), default=0) / 1024:.0f}"


def kubectl(*words: str, text: str | None = None) -> str:
    command = [demo_eks.CLUSTER, "kubectl", "one", *words, "--namespace", "fanfold"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
