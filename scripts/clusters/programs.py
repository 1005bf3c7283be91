"""The programs, in Fanfold's cache: built by Go from pinned sources, or taken out of Debian's packages."""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

from local.settings import cache

from .settings import PROGRAMS, fail, unsupported

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
STAND_INS = ("identity", "pause", "pod-network")
# Stripped, and without the paths of this machine.
FLAGS = ["-trimpath", "-tags", "notest,grpcnotrace"]
STRIPPED = "-s -w"


@functools.cache
def kubernetes() -> Path:
    """The folder with all parts of Kubernetes, which are one program under several names."""

    def build(place: Path, scratch: Path) -> None:
        go_build(PROGRAMS / "kubernetes", place / "kubernetes", ["."], kubernetes_linker_flags(), scratch)
        for part in PARTS:
            (place / part).symlink_to("kubernetes")

    digest = digest_of_sources(PROGRAMS / "kubernetes", kubernetes_linker_flags())
    return cached("kubernetes", digest, build, "this takes about ten minutes")


@functools.cache
def stand_ins() -> Path:
    """The folder with our own programs."""

    def build(place: Path, scratch: Path) -> None:
        go_build(PROGRAMS / "stand-ins", f"{place}/", [f"./{name}" for name in STAND_INS], STRIPPED, scratch)
        # containerd wants a CNI plugin of this name beside the one that it is told of.
        (place / "loopback").symlink_to("pod-network")

    return cached("stand-ins", digest_of_sources(PROGRAMS / "stand-ins", STRIPPED), build, "half a minute")


@functools.cache
def containerd() -> Path:
    """The folder with containerd, its shim, its client and runc."""
    place = debian("containerd", "containerd", "runc") / "usr" / "bin"
    if not done([place / "runc", "--version"], place):
        unsupported("Debian's runc does not run here")
    return place


@functools.cache
def busybox() -> Path:
    """A static program that is many: what an image of a user's may hold."""
    return debian("busybox", "busybox-static") / "bin" / "busybox"


def debian(name: str, *packages: str) -> Path:
    """The folder with what packages hold. They are not installed: a machine with Docker has others of its own."""

    def unpack(place: Path, scratch: Path) -> None:
        update = ["apt-get", "update", "--quiet"]
        download = ["apt-get", "download", "--quiet", "--option", "APT::Sandbox::User=root", *packages]
        if not done(download, scratch) and not (done(update, scratch) and done(download, scratch)):
            unsupported(f"apt-get could not download {' and '.join(packages)}")
        for package in scratch.glob("*.deb"):
            if not done(["dpkg-deb", "--extract", package, place], scratch):
                unsupported(f"could not unpack {package.name}")

    release = Path("/etc/os-release")
    key = (release.read_bytes() if release.exists() else b"") + " ".join(packages).encode()
    return cached(name, hashlib.sha256(key).hexdigest(), unpack, "a few seconds")


def cached(name: str, digest: str, make: Callable[[Path, Path], None], duration: str) -> Path:
    """The folder of the cache for this digest; made once, whoever asks first."""
    place = cache() / f"{name}-{digest[:16]}"
    complete = place / "complete"
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            print(f"making {name} in {place} (once, {duration}) ...", file=sys.stderr, flush=True)
            shutil.rmtree(place, ignore_errors=True)
            scratch = place / "scratch"
            scratch.mkdir(parents=True)
            make(place, scratch)
            shutil.rmtree(scratch)
            complete.touch()
            for older in cache().glob(f"{name}-*"):
                if older != place:
                    shutil.rmtree(older, ignore_errors=True)
    return place


def digest_of_sources(module: Path, linker_flags: str) -> str:
    """Of all that decides what Go builds."""
    sources = sorted([module / "go.mod", module / "go.sum", *module.rglob("*.go")])
    digest = hashlib.sha256(f"{go_version(module)} {FLAGS} {linker_flags}".encode())
    for source in sources:
        digest.update(f"{source.relative_to(module)} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def go_version(module: Path) -> str:
    """The Go of this machine, if it is new enough for a module."""
    try:
        found = subprocess.run(["go", "env", "GOVERSION"], cwd="/", check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        unsupported("Go is not installed")
    wanted = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)[1]
    if numbers(found) < numbers(wanted):
        unsupported(f"Go {wanted} or later is needed, and this is {found.strip()}")
    return found.strip()


def numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def go_build(module: Path, to: Path | str, packages: list[str], linker_flags: str, scratch: Path) -> None:
    """Builds static programs, gently. What Go keeps for the next build takes gigabytes and is not kept."""
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(scratch),
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
    }
    command = ["nice", "go", "build", *FLAGS, "-ldflags", linker_flags, "-o", to, *packages]
    if subprocess.run(command, cwd=module, env=environment).returncode != 0:
        fail(f"could not build {module.name}")


def kubernetes_version() -> str:
    return re.search(r"k8s\.io/kubernetes (v[\d.]+)", (PROGRAMS / "kubernetes" / "go.mod").read_text())[1]


def kubernetes_linker_flags() -> str:
    """Kubernetes is told its version when it is linked, and its clients want one."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    modules = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    definitions = [f"-X {module}.{name}={value}" for module in modules for name, value in values.items()]
    return " ".join([STRIPPED, *definitions])


def done(command: list, folder: Path | str) -> bool:
    try:
        return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False
