"""One cluster: its name, its folder, its certificates, and how it is spoken with."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path

from . import programs
from .pki import Authority
from .ports import port_of
from .processes import Process
from .settings import NAMES, SHARED, STATE, fail

# The API server reaches the kubelet by the node's name, for logs; the kubelet listens on loopback alone.
NODE = "localhost"
PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet")


class Cluster:
    def __init__(self, name: str):
        self.name = name
        self.folder = STATE / name
        self.node = self.folder / "node"
        self.socket = self.node / "containerd.sock"
        self.volume_plugins = self.node / "volume-plugins"
        self.endpoint = f"https://127.0.0.1:{self.port('kube-apiserver')}"

    def port(self, listener: str) -> int:
        return port_of(f"{self.name}/{listener}")

    def process(self, part: str) -> Process:
        return Process(self.folder, part)

    @cached_property
    def authority(self) -> Authority:
        return Authority(self.folder / "pki", f"kubernetes-{self.name}")

    def certificate_data(self) -> str:
        return base64.b64encode(self.authority.certificate.read_bytes()).decode()

    def kubeconfig(self, user: str, subject: str) -> Path:
        """A file by which a program is this user of the cluster."""
        certificate, key = self.authority.issue(user, subject)
        return write_kubeconfig(
            self.folder / f"{user}.kubeconfig",
            {"server": self.endpoint, "certificate-authority": str(self.authority.certificate)},
            {"client-certificate": str(certificate), "client-key": str(key)},
        )

    def admin(self) -> Path:
        return self.kubeconfig("admin", "/O=system:masters/CN=admin")

    def kubectl(self, *words: str | Path) -> list[str | Path]:
        """The command by which its admin says these words."""
        program = programs.kubernetes() / "kubectl"
        return [program, "--kubeconfig", self.admin(), "--cache-dir", self.folder / "kubectl", *words]

    def get(self, path: str) -> dict | str | None:
        """What the API server says at a path, to an admin; nothing while it does not answer with success."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.load_cert_chain(*self.authority.issue("admin", "/O=system:masters/CN=admin"))
        try:
            with urllib.request.urlopen(self.endpoint + path, timeout=5, context=context) as response:
                text = response.read().decode()
        except (urllib.error.URLError, OSError):
            return None
        return json.loads(text) if text.startswith("{") else text


def write_kubeconfig(file: Path, cluster: dict, user: dict) -> Path:
    """JSON, which is YAML too."""
    file.write_text(json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }, indent=2))
    return file


def existing() -> list[Cluster]:
    return [Cluster(name) for name in NAMES if (STATE / name).is_dir()]


def named(name: str) -> Cluster:
    names = [cluster.name for cluster in existing()]
    if name not in names:
        fail(f"no cluster is called '{name}'; there are: {', '.join(names) or 'none'}")
    return Cluster(name)


def shared(part: str) -> Process:
    return Process(SHARED, part)
