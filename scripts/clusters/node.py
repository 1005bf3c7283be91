"""A cluster's one node: containerd, the kubelet, and the network of its pods."""

import json
import os
import socket
from string import Template

from . import cgroups, images, programs
from .cluster import NODE, Cluster
from .ports import answers
from .settings import HERE, PAUSE_ARCHIVE, aws_port, unsupported

START_S = 180
PODS = 110

CONTAINERD = HERE / "containerd.toml"


def start_containerd(cluster: Cluster) -> None:
    write_network(cluster)
    folder = programs.containerd()
    configuration = cluster.node / "containerd.toml"
    configuration.write_text(Template(CONTAINERD.read_text()).substitute(
        node=cluster.node,
        socket=cluster.socket,
        pause=images.PAUSE,
        plugins=programs.stand_ins(),
        programs=folder,
    ))
    # It finds its shim by the path.
    path = f"{folder}:{os.environ['PATH']}"
    command = [folder / "containerd", "--config", configuration, "--log-level", "warn"]
    cluster.process("containerd").ensure(command, {"PATH": path})


def write_network(cluster: Cluster) -> None:
    forwarders = cluster.node / "forwarders"
    configuration = cluster.node / "cni" / "pods.conflist"
    for folder in (forwarders, configuration.parent):
        folder.mkdir(parents=True, exist_ok=True)
    plugin = {"type": "pod-network", "port": aws_port(), "forwarders": str(forwarders)}
    text = json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}, indent=2)
    # containerd reads it again whenever it is written.
    if not configuration.exists() or configuration.read_text() != text:
        configuration.write_text(text)


def start_kubelet(cluster: Cluster) -> None:
    cluster.process("containerd").wait_until(lambda: answers(cluster.socket), START_S)
    images.load(cluster, PAUSE_ARCHIVE)
    cgroups.make(cgroups.pods_of(cluster.name))
    configuration = cluster.node / "kubelet.json"
    configuration.write_text(json.dumps(kubelet_settings(cluster), indent=2))
    cluster.process("kubelet").ensure([
        programs.kubernetes() / "kubelet",
        "--config", configuration,
        "--kubeconfig", cluster.kubeconfig("kubelet", f"/O=system:nodes/CN=system:node:{NODE}"),
        "--root-dir", cluster.node / "kubelet",
        "--cert-dir", cluster.node / "kubelet-certificates",
        "--hostname-override", NODE,
        "--node-ip", own_address(),
    ])


def kubelet_settings(cluster: Cluster) -> dict:
    certificate, key = cluster.authority.issue("kubelet-server", f"/CN={NODE}", f"DNS:{NODE}")
    # A full disk may neither evict pods nor cost images, which nobody could pull again.
    never = {name: "0%" for name in (
        "memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
    )}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": cluster.port("kubelet"),
        "healthzPort": cluster.port("kubelet-health"),
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(cluster.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": f"unix://{cluster.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.pods_of(cluster.name)}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(cluster.node / "pod-logs"),
        "volumePluginDir": str(cluster.volume_plugins),
        "maxPods": PODS,
        "evictionHard": never,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "localStorageCapacityIsolation": False,
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "5s",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }


def wait(cluster: Cluster) -> None:
    cluster.process("kubelet").wait_until(lambda: is_ready(cluster), START_S)


def is_ready(cluster: Cluster) -> bool:
    node = cluster.get(f"/api/v1/nodes/{NODE}")
    conditions = node["status"].get("conditions", []) if node else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def own_address() -> str:
    """The kubelet wants its node to have an address that is not loopback, though nothing will listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Chooses the way there and sends nothing.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            unsupported("this machine has no address but loopback")
        return probe.getsockname()[0]
