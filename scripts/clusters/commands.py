"""What `scripts/cluster` can be told."""

import argparse
import fcntl
import os
import shlex
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from local.commands import since
from local.settings import cache

from . import contents, control_plane, identity, images, node, programs, teardown
from .cluster import PARTS, Cluster, existing, named, shared
from .settings import NAMES, STATE, begin_state, fail, unsupported

ABOUT = """\
Runs real Kubernetes on this machine, without Docker, for tests. All of it listens on 127.0.0.1 alone.

  scripts/cluster up --clusters 2       start them; as often as you like
  eval "$(scripts/cluster env)"         tell tests where they are
  scripts/cluster down                  end them; what they held is gone

In a pod http://127.0.0.1:4566 is the local AWS of this machine (another port by FANFOLD_PORT), and nothing else can
be reached. A machine that cannot have clusters ends `up` with the status 3 and the reason."""

SHARED_PARTS = ("etcd", *identity.MODES)


def main() -> None:
    arguments = parser().parse_args()
    if arguments.command != "image" and os.geteuid() != 0:
        unsupported("they need root")
    match arguments.command:
        case "up":
            up(arguments.clusters)
        case "down":
            down()
        case "status":
            status()
        case "env":
            print_environment()
        case "kubectl":
            kubectl(named(arguments.name), arguments.words)
        case "image":
            files = [images.file_of(text) for text in arguments.files]
            images.write(arguments.out, arguments.name, arguments.entrypoint, arguments.env, files, arguments.base)
        case "busybox":
            images.write_busybox(arguments.out, arguments.name)
        case "load":
            for cluster in [named(name) for name in arguments.names] or running():
                images.load(cluster, arguments.archive)
        case "fail":
            make_fail(named(arguments.name), arguments.how, arguments.part)


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser("scripts/cluster", description=ABOUT, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    up_parser = commands.add_parser("up", help="start what does not run")
    up_parser.add_argument("--clusters", type=int, default=1, choices=range(1, len(NAMES) + 1), help="how many")
    commands.add_parser("down", help="end all of them")
    commands.add_parser("status", help="what runs, and where")
    commands.add_parser("env", help="print what tests need to reach them")
    kubectl_parser = commands.add_parser("kubectl", help="ask one as its admin")
    kubectl_parser.add_argument("name", help="the cluster's")
    kubectl_parser.add_argument("words", nargs=argparse.REMAINDER, help="what kubectl is told")
    image_parser = commands.add_parser("image", help="write an image from files")
    image_parser.add_argument("out", type=Path, help="the OCI archive to write")
    image_parser.add_argument("name", metavar="NAME:TAG")
    image_parser.add_argument("--from", dest="base", type=Path, metavar="ARCHIVE",
                              help="the image that it begins with, as an OCI archive; nothing unless said otherwise")
    image_parser.add_argument("--entrypoint", required=True, help="the program's path in the image")
    image_parser.add_argument("--env", action="append", default=[], metavar="K=V")
    image_parser.add_argument("files", nargs="+", metavar="SRC=DST[:MODE]")
    busybox_parser = commands.add_parser("busybox", help="write an image with some tools of Debian's busybox")
    busybox_parser.add_argument("out", type=Path, help="the OCI archive to write")
    busybox_parser.add_argument("name", metavar="NAME:TAG")
    load_parser = commands.add_parser("load", help="give an image to clusters: they can pull none")
    load_parser.add_argument("archive", type=Path)
    load_parser.add_argument("names", nargs="*", help="the clusters'; all unless said otherwise")
    fail_parser = commands.add_parser("fail", help="have a part of one fail, and come back")
    fail_parser.add_argument("name", help="the cluster's")
    fail_parser.add_argument("how", choices=("stop", "start", "pause", "resume"))
    fail_parser.add_argument("part", nargs="?", default="kube-apiserver", choices=PARTS)
    return parser


def up(count: int) -> None:
    began = time.monotonic()
    with alone():
        # First what may take long or be impossible.
        programs.containerd()
        programs.stand_ins()
        programs.kubernetes()
        begin_state()
        for name in NAMES[:count]:
            Cluster(name).node.mkdir(parents=True, exist_ok=True)
        start(existing())
    print(f"{' and '.join(cluster.name for cluster in existing())}: up {since(began)}")


def start(clusters: list[Cluster]) -> None:
    """Step by step for all of them, so that one starts while another is waited for."""
    images.write_pause()
    control_plane.start_etcd()
    identity.start()
    for cluster in clusters:
        control_plane.start(cluster)
        node.start_containerd(cluster)
    for cluster in clusters:
        control_plane.wait(cluster)
        node.start_kubelet(cluster)
        contents.apply(cluster)
    for cluster in clusters:
        node.wait(cluster)


def down() -> None:
    with alone():
        print("ended" if teardown.end() else "there was none")


def status() -> None:
    for cluster in running():
        print(f"{cluster.name:6} {cluster.endpoint}  {pids(cluster.process(part) for part in PARTS)}")
    print(f"shared {identity.describe_endpoint()}   {pids(shared(part) for part in SHARED_PARTS)}")


def pids(processes) -> str:
    return ", ".join(f"{process.name} {process.pid() or 'does not run'}" for process in processes)


def print_environment() -> None:
    names = " ".join(cluster.name for cluster in running())
    print(f"export AWS_ENDPOINT_URL_EKS={shlex.quote(identity.describe_endpoint())}")
    print(f"export FANFOLD_TEST_CLUSTERS={shlex.quote(names)}")


def kubectl(cluster: Cluster, words: list[str]) -> None:
    command = cluster.kubectl(*words)
    os.execv(command[0], command)


def make_fail(cluster: Cluster, how: str, part: str) -> None:
    process = cluster.process(part)
    match how:
        case "stop":
            process.kill()
        case "start":
            process.again()
            if part == "kube-apiserver":
                control_plane.wait(cluster)
        case "pause":
            process.send(signal.SIGSTOP)
        case "resume":
            process.send(signal.SIGCONT)


def running() -> list[Cluster]:
    if not shared("etcd").pid():
        fail("there is none: run `scripts/cluster up`")
    return existing()


@contextmanager
def alone():
    """One command at a time starts or ends clusters."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "cluster.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
