"""Virtual environments in Fanfold's cache, each with exactly what a file of pinned requirements names."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .settings import REQUIREMENTS, cache, fail


def python_of(name: str) -> Path:
    """The Python of the environment for scripts/requirements/<name>.txt; made at the first use."""
    requirements = REQUIREMENTS / f"{name}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:16]
    place = cache() / f"{name}-{digest}"
    python = place / "bin" / "python"
    complete = place / "complete"
    if complete.exists():
        return python
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            install(name, requirements, place, python)
            complete.touch()
            discard_older(name, place)
    return python


def install(name: str, requirements: Path, place: Path, python: Path) -> None:
    print(f"installing {name} into {place} (once) ...", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The file has all that is needed, so that nothing is left to resolve.
    done = subprocess.run([*pip, "--no-deps", "--require-hashes", "--requirement", requirements])
    if done.returncode != 0:
        fail(f"could not install {requirements.name}")


def discard_older(name: str, place: Path) -> None:
    for older in cache().glob(f"{name}-*"):
        if older != place:
            shutil.rmtree(older, ignore_errors=True)
