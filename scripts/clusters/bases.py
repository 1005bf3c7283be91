"""Images of others as what another image begins with: read from OCI archives."""

import json
import tarfile
from pathlib import Path
from typing import NamedTuple

from .settings import fail

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
# The types of config and of a layer packed by gzip that go with a manifest of each type.
MANIFESTS = {
    "application/vnd.oci.image.manifest.v1+json":
        ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
    "application/vnd.docker.distribution.manifest.v2+json":
        ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
}
OCI_MANIFEST = next(iter(MANIFESTS))
HOW = "write one with `docker buildx build --output type=oci,dest=FILE`, `podman save --format oci-archive` or `skopeo copy ... oci-archive:FILE`"


class Base(NamedTuple):
    """What an image is made of. The layers' blobs are in its archive."""

    archive: Path
    # The type of its manifest, which the new one keeps: types are not to be mixed.
    media_type: str
    config: dict
    layers: list[dict]

    def blobs(self):
        """The layers' blobs by their paths in an archive."""
        with tarfile.open(self.archive) as archive:
            for layer in self.layers:
                path = path_of(layer)
                yield path, content(self.archive, archive, path)


def read(path: Path, architecture: str) -> Base:
    """The image of an archive: its only one, or the one that is for Linux on this architecture."""
    if not path.is_file():
        fail(f"there is no file {path}")
    try:
        with tarfile.open(path) as archive:
            described = one_of(path, load(path, archive, "index.json"), architecture)
            while described["mediaType"] in INDEXES:
                described = one_of(path, load(path, archive, path_of(described)), architecture)
            if described["mediaType"] not in MANIFESTS:
                fail(f"{path} holds a {described['mediaType']}; known: {', '.join(MANIFESTS)}")
            manifest = load(path, archive, path_of(described))
            config = load(path, archive, path_of(manifest["config"]))
    except (tarfile.TarError, KeyError, TypeError, json.JSONDecodeError):
        fail(f"{path} is no OCI archive: {HOW}")
    found = f"{config.get('os')} on {config.get('architecture')}"
    if found != f"linux on {architecture}":
        fail(f"{path} is an image for {found}, and the worker is for linux on {architecture}")
    return Base(path, described["mediaType"], config, manifest["layers"])


def one_of(path: Path, index: dict, architecture: str) -> dict:
    manifests = index["manifests"]
    fitting = [entry for entry in manifests if entry.get("platform", {}).get("architecture") == architecture
               and entry["platform"].get("os") == "linux"]
    if len(manifests) == 1:
        return manifests[0]
    if len(fitting) != 1:
        fail(f"{path} holds {len(manifests)} images, of which {len(fitting)} are said to be for linux on {architecture}: keep one")
    return fitting[0]


def load(path: Path, archive: tarfile.TarFile, member: str) -> dict:
    return json.loads(content(path, archive, member))


def content(path: Path, archive: tarfile.TarFile, member: str) -> bytes:
    for name in (member, f"./{member}"):
        try:
            return archive.extractfile(name).read()
        except (KeyError, AttributeError):
            continue
    fail(f"{path} has no {member}, so that it is no OCI archive: {HOW}")


def path_of(described: dict) -> str:
    algorithm, _, digest = described["digest"].partition(":")
    return f"blobs/{algorithm}/{digest}"
