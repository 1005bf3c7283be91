"""What EKS adds to Kubernetes: who an AWS identity is to a cluster, and where a cluster is."""

import json
from pathlib import Path

from local.settings import REGION, endpoint

from . import programs
from .cluster import Cluster, existing, shared, write_kubeconfig
from .pki import Authority
from .ports import port_of
from .settings import SHARED, aws_port

MODES = ("webhook", "sts", "describe")
SETTINGS = SHARED / "identity.json"
START_S = 30

# The hosts that the verifier may ask, of one region.
STS_HOSTS = f"DNS:sts.amazonaws.com, DNS:sts.{REGION}.amazonaws.com"

ACCOUNT = "000000000000"
GROUP = "fanfold-launchers"
# By the secret `test`, the local AWS's own: a client of ours, and any function while roles are not enforced. Then the
# local AWS gives every function these, whatever its role, so that they cannot be told apart.
LAUNCHER_KEYS = ("test", ACCOUNT)
# Those are the roles of template.yaml by their names in the stack, where roles are enforced.
LAUNCHER_ROLES = ("fanfold-launcher", "*LauncherRole*", "*SweeperRole*")


def authority() -> Authority:
    return Authority(SHARED / "pki", "aws-stand-ins")


def webhook_kubeconfig(cluster: Cluster) -> Path:
    """Tells the API server where to ask whose token it was given."""
    place = f"https://{address('webhook')}/{cluster.name}"
    return write_kubeconfig(
        cluster.folder / "webhook.kubeconfig",
        {"server": place, "certificate-authority": str(authority().certificate)},
        {},
    )


def describe_endpoint() -> str:
    return f"http://{address('describe')}"


def start() -> None:
    """Starts the three programs, or tells those that run which clusters there are now."""
    write_settings()
    identity = programs.stand_ins() / "identity"
    # The verifier asks AWS's own STS and none else: its way there leads to ours.
    to_ours = {"HTTPS_PROXY": f"http://{address('sts')}", "SSL_CERT_FILE": str(authority().certificate)}
    shared("sts").ensure([identity, "sts", SETTINGS])
    shared("webhook").ensure([identity, "webhook", SETTINGS], to_ours)
    shared("describe").ensure([identity, "describe", SETTINGS])


def write_settings() -> None:
    fresh = SETTINGS.with_suffix(".new")
    fresh.write_text(json.dumps({
        "region": REGION,
        "local_aws": endpoint(aws_port()),
        "places": {mode: place(mode) for mode in MODES},
        "credentials": credentials(),
        "mappings": [
            {"role": f"arn:aws:iam::*:role/{role}", "username": "fanfold-launcher", "groups": [GROUP]}
            for role in LAUNCHER_ROLES
        ],
        "clusters": {cluster.name: description(cluster) for cluster in existing()},
    }, indent=2))
    # They may be reading it.
    fresh.rename(SETTINGS)


def credentials() -> dict[str, dict]:
    known = {key: credential("test", "fanfold-launcher", "launcher") for key in LAUNCHER_KEYS}
    # A role like any other of the account, without access to a cluster.
    return known | {"other": credential("other", "other", "other")}


def credential(secret: str, role: str, session: str) -> dict:
    return {
        "secret": secret,
        "account": ACCOUNT,
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        "user_id": f"AROA{role.upper().replace('-', '')}:{session}",
    }


def description(cluster: Cluster) -> dict:
    """As EKS describes it; it knows minor versions only."""
    return {
        "endpoint": cluster.endpoint,
        "version": programs.kubernetes_version().removeprefix("v").rpartition(".")[0],
        "authority": cluster.certificate_data(),
    }


def place(mode: str) -> dict:
    if mode == "describe":
        return {"address": address(mode)}
    hosts = {"webhook": "IP:127.0.0.1", "sts": STS_HOSTS}
    certificate, key = authority().issue(mode, f"/CN={mode}", hosts[mode])
    return {"address": address(mode), "certificate": str(certificate), "key": str(key)}


def address(mode: str) -> str:
    return f"127.0.0.1:{port_of(f'shared/{mode}')}"
