"""What every cluster has in it once it is up."""

import json
import subprocess

from local.settings import credentials, endpoint

from .cluster import Cluster
from .settings import MANIFESTS, NAMESPACE, aws_port, fail

START_S = 60
# What of a client's environment a worker in a pod needs too, where the local AWS has the address it has outside.
PASSED = ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")


def apply(cluster: Cluster) -> None:
    kubectl_apply(cluster, "--kustomize", MANIFESTS)
    kubectl_apply(cluster, "--filename", "-", given=json.dumps(local_contents()))
    # Without it no pod is admitted.
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    cluster.process("kube-controller-manager").wait_until(lambda: cluster.get(account) is not None, START_S)


def local_contents() -> dict:
    """What is only here: how a pod reaches the local AWS, and a namespace in which the launcher may do nothing."""
    known = credentials()
    variables = {"AWS_ENDPOINT_URL": endpoint(aws_port())} | {name: known[name] for name in PASSED}
    worker = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "fanfold-worker", "namespace": NAMESPACE},
        "data": variables,
    }
    forbidden = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "forbidden"}}
    return {"apiVersion": "v1", "kind": "List", "items": [worker, forbidden]}


def kubectl_apply(cluster: Cluster, *words, given: str = "") -> None:
    done = subprocess.run(cluster.kubectl("apply", *words), input=given, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"cluster {cluster.name} did not take its manifests: {done.stderr.strip()}")
