"""The local AWS (MiniStack): one process on one port of 127.0.0.1."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from . import venvs
from .settings import (
    CLUSTER_PORTS,
    ENFORCED_TEMPLATE,
    PID,
    PORT,
    SERVER_LOG,
    STATE,
    STRICT,
    begin_state,
    clean_environment,
    credentials,
    discard_state,
    endpoint,
    fail,
    wanted_port,
)

PROGRAM = Path(__file__).with_name("aws.py")
DEFAULT_PORT = 4566
START_S = 60
STOP_S = 15


def running() -> int | None:
    """The pid of our server. It holds a lock on its own pid file as long as it lives, so that a pid that is
    left over is never taken for it."""
    if not PID.exists():
        return None
    with open(PID, "r+") as file:
        return int(file.read()) if is_held(file) else None


def port() -> int:
    """The port of our server, which runs."""
    return int(PORT.read_text())


def start(enforce_roles: bool, strict: list[str]) -> bool:
    """Starts the server unless it runs; whether it did. It begins empty. `strict` is what strict.py is told."""
    wanted = wanted_port()
    if running():
        if wanted not in (None, port()):
            fail(f"the stack runs on port {port()}, and FANFOLD_PORT is {wanted}: run `scripts/stack down` first")
        if enforce_roles and not ENFORCED_TEMPLATE.exists():
            fail("the stack runs without enforcing roles: run `scripts/stack down` first")
        if strict and strict != strictness():
            said = " ".join(strictness()) or "no --strict"
            fail(f"the stack runs with {said}, and {' '.join(strict)} is wanted: run `scripts/stack down` first")
        return False
    chosen = wanted or DEFAULT_PORT
    if is_taken(chosen):
        fail(f"port {chosen} is taken by a program that is not ours: stop it, or set FANFOLD_PORT to a free port")
    python = venvs.python_of("server")
    begin_state()
    if enforce_roles:
        ENFORCED_TEMPLATE.touch()
    STRICT.write_text(json.dumps(strict))
    PORT.write_text(str(chosen))
    # The server inherits the file and with it the lock.
    with open(PID, "w") as file, open(SERVER_LOG, "w") as log:
        fcntl.flock(file, fcntl.LOCK_EX)
        server = subprocess.Popen(
            [python, PROGRAM, *strict],
            env=environment(chosen, enforce_roles),
            cwd=STATE,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[file.fileno()],
            start_new_session=True,
        )
        file.write(str(server.pid))
    wait_until_ready(chosen, server)
    return True


def strictness() -> list[str]:
    """What our server, which runs, was told of strict.py's."""
    return json.loads(STRICT.read_text()) if STRICT.exists() else []


def stop() -> bool:
    """Ends the server and the functions it runs; whether it ran. What it held is gone."""
    pid = running()
    if pid:
        # Its process group is its own: nothing but it and the functions it started.
        os.killpg(pid, signal.SIGTERM)
        if not ends_within(STOP_S):
            os.killpg(pid, signal.SIGKILL)
            if not ends_within(STOP_S):
                fail(f"the server (pid {pid}) does not end")
    discard_state()
    return pid is not None


def environment(port: int, enforce_roles: bool) -> dict[str, str]:
    """All that the server sees; every function it starts sees it too."""
    return clean_environment() | credentials() | {
        # As Lambda has it, and nothing of the caller's.
        "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "LAMBDA_EXECUTOR": "local",
        # For the functions: without it they would call AWS.
        "AWS_ENDPOINT_URL": endpoint(port),
        # These listen on all interfaces, whatever BIND_HOST says.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Objects in memory: a read of a range does not read the whole object from disk first.
        "S3_PERSIST": "0",
        "PERSIST_STATE": "0",
        "STATE_DIR": str(STATE / "state"),
        "S3_DATA_DIR": str(STATE / "s3"),
        "TMPDIR": str(STATE / "tmp"),
        "AUTH": str(enforce_roles).lower(),
    } | where_clusters_are()


def where_clusters_are() -> dict[str, str]:
    """Where functions are told of test clusters, if there are any: the server's own EKS knows none of them."""
    if not CLUSTER_PORTS.exists():
        return {}
    return {"AWS_ENDPOINT_URL_EKS": endpoint(json.loads(CLUSTER_PORTS.read_text())["shared/describe"])}


def wait_until_ready(port: int, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            fail(f"the server ended at once; its log ends:\n{tail(SERVER_LOG)}")
        try:
            with urllib.request.urlopen(f"{endpoint(port)}/_ministack/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    stop()
    fail(f"the server was not ready after {START_S} s")


def ends_within(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_held(file: IO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
