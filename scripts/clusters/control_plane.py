"""etcd, which all clusters share, and each cluster's API server, controllers and scheduler."""

from pathlib import Path

from . import identity, programs
from .cluster import Cluster, shared
from .ports import port_of
from .settings import SHARED

START_S = 180
SERVICES = "10.96.0.0/16"


def start_etcd() -> None:
    clients, peers = (f"http://127.0.0.1:{port_of(f'shared/{name}')}" for name in ("etcd", "etcd-peers"))
    shared("etcd").ensure([
        programs.kubernetes() / "etcd",
        "--data-dir", SHARED / "etcd",
        "--listen-client-urls", clients,
        "--advertise-client-urls", clients,
        "--listen-peer-urls", peers,
        "--initial-advertise-peer-urls", peers,
        "--initial-cluster", f"default={peers}",
        "--log-level", "warn",
        # What it holds is thrown away with the clusters.
        "--unsafe-no-fsync",
    ])


def start(cluster: Cluster) -> None:
    start_api_server(cluster)
    # One of each, so that none has to be elected.
    common = ["--leader-elect=false", "--bind-address", "127.0.0.1", "--profiling=false"]
    accounts, _ = account_keys(cluster)
    cluster.process("kube-controller-manager").ensure([
        programs.kubernetes() / "kube-controller-manager", *common,
        "--secure-port", cluster.port("kube-controller-manager"),
        "--kubeconfig", cluster.kubeconfig("controllers", "/CN=system:kube-controller-manager"),
        "--use-service-account-credentials",
        "--flex-volume-plugin-dir", cluster.volume_plugins,
        "--service-account-private-key-file", accounts,
        "--root-ca-file", cluster.authority.certificate,
    ])
    cluster.process("kube-scheduler").ensure([
        programs.kubernetes() / "kube-scheduler", *common,
        "--secure-port", cluster.port("kube-scheduler"),
        "--kubeconfig", cluster.kubeconfig("scheduler", "/CN=system:kube-scheduler"),
    ])


def start_api_server(cluster: Cluster) -> None:
    authority = cluster.authority
    own, own_key = authority.issue("apiserver", "/CN=kube-apiserver", "DNS:localhost, IP:127.0.0.1")
    client, client_key = authority.issue("apiserver-as-client", "/O=system:masters/CN=kube-apiserver")
    private, public = account_keys(cluster)
    cluster.process("kube-apiserver").ensure([
        programs.kubernetes() / "kube-apiserver",
        "--bind-address", "127.0.0.1",
        "--secure-port", cluster.port("kube-apiserver"),
        # It may not announce loopback as its address, and nothing asks for it.
        "--endpoint-reconciler-type", "none",
        "--etcd-servers", f"http://127.0.0.1:{port_of('shared/etcd')}",
        "--etcd-prefix", f"/{cluster.name}",
        "--client-ca-file", authority.certificate,
        "--tls-cert-file", own,
        "--tls-private-key-file", own_key,
        "--kubelet-certificate-authority", authority.certificate,
        "--kubelet-client-certificate", client,
        "--kubelet-client-key", client_key,
        "--kubelet-preferred-address-types", "Hostname",
        "--service-account-issuer", cluster.endpoint,
        "--service-account-key-file", public,
        "--service-account-signing-key-file", private,
        "--service-cluster-ip-range", SERVICES,
        "--authorization-mode", "Node,RBAC",
        "--enable-admission-plugins", "NodeRestriction",
        "--authentication-token-webhook-config-file", identity.webhook_kubeconfig(cluster),
        "--authentication-token-webhook-version", "v1",
        "--authentication-token-webhook-cache-ttl", "10s",
        "--profiling=false",
    ])


def account_keys(cluster: Cluster) -> tuple[Path, Path]:
    """What service accounts' tokens are signed with."""
    return cluster.authority.key_pair("service-accounts")


def wait(cluster: Cluster) -> None:
    cluster.process("kube-apiserver").wait_until(lambda: cluster.get("/readyz") is not None, START_S)
