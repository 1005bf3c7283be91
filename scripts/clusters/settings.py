"""Where things are, and how this ends when it cannot go on."""

import hashlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from local import server
from local.settings import CLUSTER_PORTS, PROJECT, clusters_state, wanted_port

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
# What any cluster is given, a real one too.
MANIFESTS = PROJECT / "services" / "launcher" / "kubernetes"

STATE = clusters_state()
# What is not one cluster's: etcd, and what stands in for AWS.
SHARED = STATE / "shared"
PORTS = CLUSTER_PORTS
PAUSE_ARCHIVE = STATE / "pause.tar"

NAMES = ("one", "two", "three", "four")
NAMESPACE = "fanfold"

# Nothing of two checkouts may be mistaken for each other's.
CHECKOUT = f"fanfold-{hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:8]}"

UNSUPPORTED = 3


def aws_port() -> int:
    """The port of the local AWS: the one that was asked for, or where it runs, or where it would."""
    return wanted_port() or (server.port() if server.running() else server.DEFAULT_PORT)


def begin_state() -> None:
    SHARED.mkdir(parents=True, exist_ok=True)
    # Keys are in there.
    STATE.chmod(0o700)


def fail(message: str) -> NoReturn:
    sys.exit(f"scripts/cluster: {message}")


def unsupported(message: str) -> NoReturn:
    """Ends with a status of its own, so that a caller can tell a machine without clusters from a mistake."""
    print(f"scripts/cluster: no clusters here: {message}", file=sys.stderr)
    sys.exit(UNSUPPORTED)
