"""Ends the clusters and leaves nothing of them: no process, no mount, no cgroup, no file."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

from . import cgroups
from .ports import answers
from .settings import STATE, fail

# Where programs put something outside our folder, whatever they are told; others may have theirs there too.
SHIM_SOCKETS = Path("/run/containerd/s")
CNI_RESULTS = Path("/var/lib/cni/results")
LOG_LINKS = Path("/var/log/containers")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def end() -> bool:
    """Whether there was anything."""
    existed = STATE.exists()
    cgroups.end()
    for place in reversed(mounts()):
        unmount(place)
    for file in [*of_containers(), *log_links(), *dead_sockets(DEVICE_PLUGINS)]:
        file.unlink(missing_ok=True)
    if existed:
        shutil.rmtree(STATE)
        for folder in (SHIM_SOCKETS, CNI_RESULTS, LOG_LINKS, DEVICE_PLUGINS):
            remove_if_empty(folder)
            if folder != LOG_LINKS:
                remove_if_empty(folder.parent)
    return existed


def mounts() -> list[str]:
    """What is mounted within our folder, in the order of mounting."""
    lines = Path("/proc/mounts").read_text().splitlines()
    # Blanks and the like are written as octal escapes.
    places = [re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[1]) for line in lines]
    return [place for place in places if place.startswith(f"{STATE}/")]


def unmount(place: str) -> None:
    done = subprocess.run(["umount", place], capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"could not unmount {place}: {done.stderr.strip()}")


def of_containers() -> Iterator[Path]:
    """What belongs to the containers that were running: the sockets of their shims, and what CNI remembers."""
    for container in STATE.glob("*/node/containerd-state/io.containerd.runtime.v2.task/*/*"):
        address = container / "address"
        if address.exists():
            yield SHIM_SOCKETS / Path(address.read_text()).name
        yield from CNI_RESULTS.glob(f"*-{container.name}-*")


def log_links() -> list[Path]:
    """The kubelet's links to its containers' logs."""
    return [link for link in LOG_LINKS.glob("*") if link.is_symlink() and os.readlink(link).startswith(f"{STATE}/")]


def dead_sockets(folder: Path) -> list[Path]:
    """Those that nobody listens at any more. The last kubelet to start has its own there, another checkout's too."""
    return [place for place in folder.glob("*.sock") if not answers(place)]


def remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
