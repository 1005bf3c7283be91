"""Container images, written and loaded without Docker."""

import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from . import bases, programs
from .cluster import Cluster
from .settings import PAUSE_ARCHIVE, fail

PAUSE = "fanfold.local/pause:1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
OCI = "application/vnd.oci.image"


class File(NamedTuple):
    source: Path
    target: PurePosixPath
    mode: int


def file_of(text: str) -> File:
    """SRC=DST[:MODE]; without a mode the file has the one of its source."""
    source, equals, rest = text.partition("=")
    target, colon, mode = rest.partition(":")
    if not equals or not target.startswith("/"):
        fail(f"'{text}' is not SRC=DST[:MODE] with an absolute DST")
    if not Path(source).is_file():
        fail(f"there is no file {source}")
    try:
        bits = int(mode, 8) if colon else os.stat(source).st_mode & 0o777
    except ValueError:
        fail(f"'{mode}' is no mode; allowed: octal digits, as 0755")
    return File(Path(source), PurePosixPath(target), bits)


def with_path(environment: list[str]) -> list[str]:
    return environment if any(text.startswith("PATH=") for text in environment) else ["PATH=/", *environment]


def write_busybox(out: Path, name: str) -> None:
    """An image as a user might have one, with tools and nothing of ours."""
    program = programs.busybox()
    tools = [File(program, PurePosixPath("/bin") / tool, 0o755) for tool in ("cat", "sh", "sleep", "tail", "tr")]
    write(out, name, "/bin/sh", ["PATH=/bin"], tools)


def write(out: Path, name: str, entrypoint: str, environment: list[str], files: list[File], base: Path | None = None) -> None:
    """An image FROM scratch with one layer, or with one more than another image, as an OCI archive. The same input gives
    the same bytes."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    if base:
        begun = bases.read(base, architecture)
    else:
        own = {"Env": with_path([]), "WorkingDir": "/"}
        begun = bases.Base(out, bases.OCI_MANIFEST, {"architecture": architecture, "os": "linux", "config": own}, [])
    config_type, layer_type = bases.MANIFESTS[begun.media_type]
    # Folders of another image stay as they are: where it has a link, one of ours would take its place.
    layer = layer_of(files, with_folders=not base)
    packed = gzip.compress(layer, compresslevel=6, mtime=0)
    config = json_bytes(configured(begun.config, entrypoint, environment, digest(layer)))
    manifest = json_bytes({
        "schemaVersion": 2,
        "mediaType": begun.media_type,
        "config": described(config, config_type),
        "layers": [*begun.layers, described(packed, layer_type)],
    })
    named = {"annotations": {"io.containerd.image.name": full_name(name)}}
    index = json_bytes({
        "schemaVersion": 2,
        "mediaType": f"{OCI}.index.v1+json",
        "manifests": [described(manifest, begun.media_type) | named],
    })
    blobs = {f"blobs/sha256/{digest(blob).removeprefix('sha256:')}": blob for blob in (config, manifest, packed)}
    written = out.with_name(f"{out.name}.new")
    with tarfile.open(written, "w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}.items():
            archive.addfile(*member(path, content, 0o644))
        for path, content in begun.blobs() if base else ():
            archive.addfile(*member(path, content, 0o644))
    written.replace(out)


def configured(begun: dict, entrypoint: str, environment: list[str], layer: str) -> dict:
    """What an image says of itself with one more layer. Of the image before it stay variables, user and working directory;
    its arguments were for its own entry point."""
    own, rootfs = begun.get("config") or {}, begun.get("rootfs", {})
    names = [text.partition("=")[0] for text in environment]
    kept = [text for text in own.get("Env") or [] if text.partition("=")[0] not in names]
    described = {"Entrypoint": [entrypoint], "Env": [*kept, *environment]}
    config = begun | {
        "config": {key: value for key, value in own.items() if key != "Cmd"} | described,
        "rootfs": {"type": "layers", "diff_ids": [*rootfs.get("diff_ids", []), layer]},
    }
    if "history" in begun:
        config["history"] = [*begun["history"], {"created_by": "scripts/cluster image"}]
    return config


def layer_of(files: list[File], with_folders: bool = True) -> bytes:
    # Where nearly every program may write something.
    folders = {PurePosixPath("/tmp"): 0o1777} if with_folders else {}
    for file in files if with_folders else ():
        folders |= {parent: 0o755 for parent in file.target.parents if parent not in folders and parent.name}
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, mode in sorted(folders.items()):
            folder, _ = member(str(path).lstrip("/"), b"", mode)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
        for file in sorted(files, key=lambda file: file.target):
            archive.addfile(*member(str(file.target).lstrip("/"), file.source.read_bytes(), file.mode))
    return layer.getvalue()


def member(path: str, content: bytes, mode: int) -> tuple[tarfile.TarInfo, io.BytesIO]:
    """Root's, and of the year 1970."""
    info = tarfile.TarInfo(path)
    info.size = len(content)
    info.mode = mode
    return info, io.BytesIO(content)


def full_name(name: str) -> str:
    """The name by which a kubelet asks containerd for an image that a pod calls so."""
    path, _, tag = name.rpartition(":")
    if not path or "/" in tag:
        fail(f"'{name}' is not NAME:TAG")
    registry, slash, _ = path.partition("/")
    if slash and ("." in registry or ":" in registry or registry == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def described(blob: bytes, media_type: str) -> dict:
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def json_bytes(document: dict) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def write_pause() -> None:
    """The image of the process that every pod has beside its own."""
    pause = File(programs.stand_ins() / "pause", PurePosixPath("/pause"), 0o755)
    write(PAUSE_ARCHIVE, PAUSE, "/pause", [], [pause])


def load(cluster: Cluster, archive: Path) -> None:
    if not archive.is_file():
        fail(f"there is no file {archive}")
    ctr = [programs.containerd() / "ctr", "--address", cluster.socket, "--namespace", "k8s.io"]
    done = subprocess.run([*ctr, "images", "import", archive], capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"cluster {cluster.name} could not load {archive}: {done.stderr.strip()}")
