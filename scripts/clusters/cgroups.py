"""One cgroup that holds everything the clusters of this checkout run: their programs, and all containers.

    /fanfold-<checkout>/<cluster>/programs    containerd, kubelet and so on, and what they start
    /fanfold-<checkout>/<cluster>/pods        the kubelet's, as its root
"""

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from .settings import CHECKOUT, fail, unsupported

END_S = 30
POLL_S = 0.05


def hierarchies() -> list[Path]:
    """Where cgroups are mounted: once (v2), or once for each controller (v1)."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]


def programs_of(folder: str) -> str:
    return f"{CHECKOUT}/{folder}/programs"


def pods_of(cluster: str) -> str:
    return f"{CHECKOUT}/{cluster}/pods"


def make(group: str) -> None:
    for hierarchy in hierarchies():
        place = hierarchy
        for part in group.split("/"):
            place /= part
            try:
                place.mkdir(exist_ok=True)
            except OSError as error:
                unsupported(f"cannot make the cgroup {place}: {error.strerror}")
            begin_cpuset(place)


def begin_cpuset(place: Path) -> None:
    """A cpuset (v1) begins without any processor, and then takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = place / name
        if file.exists() and not file.read_text().strip():
            file.write_text((place.parent / name).read_text())


def enter(group: str) -> None:
    """Moves the process that calls, and with it all it will start; no limits apply there, so one hierarchy will do."""
    (counted() / group / "cgroup.procs").write_text("0")


def counted() -> Path:
    """The hierarchy in which all processes are found again."""
    found = hierarchies()
    return next((hierarchy for hierarchy in found if hierarchy.name == "pids"), found[0])


def members() -> list[int]:
    pids = []
    # What vanishes meanwhile is passed over.
    for folder, _, _ in os.walk(counted() / CHECKOUT):
        with suppress(OSError):
            pids += Path(folder, "cgroup.procs").read_text().split()
    return [int(pid) for pid in pids]


def end() -> None:
    """Ends every process in there, and removes it."""
    deadline = time.monotonic() + END_S
    while pids := members():
        if time.monotonic() > deadline:
            fail(f"processes do not end: {pids}")
        for pid in pids:
            # It may have ended by itself.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    for hierarchy in hierarchies():
        remove(hierarchy / CHECKOUT, deadline)


def remove(group: Path, deadline: float) -> None:
    """Removes a cgroup with those in it. It stays busy until the last process has left it entirely."""
    for folder, _, _ in os.walk(group, topdown=False):
        while Path(folder).exists():
            try:
                Path(folder).rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    fail(f"could not remove the cgroup {folder}: {error.strerror}")
                time.sleep(POLL_S)
