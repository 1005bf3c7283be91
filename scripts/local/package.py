"""The files that go along in the worker's package: `python -m local.package DIR PACKAGE`, which scripts/build runs.

Refused is what would be different on Lambda, where the files are another user's and can only be read.
"""

import shutil
import stat
import sys
from pathlib import Path

# Lambda's limit of a package as it is unpacked, with its layers.
MOST_BYTES = 250 << 20
WORKER = "bootstrap"


def main(source: Path, package: Path) -> None:
    if not source.is_dir():
        fail(f"--with {source}: there is no such folder")
    if (source / WORKER).exists() or (source / WORKER).is_symlink():
        fail(f"{source / WORKER}: the worker itself has this name in the package; give the file another")
    files = list(found(source, source.resolve(), Path()))
    size = sum(path.stat().st_size for path in [package / WORKER, *(source / name for name in files)])
    if size > MOST_BYTES:
        fail(f"{source} and the worker are {size} bytes, and Lambda takes {MOST_BYTES} unpacked, with all layers: "
             "leave out what the program does not need, or use a container image (the parameter WorkerImageUri), which may have 10 GB")
    for name in files:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        # With its mode; of a link what it leads to, since not all that unpacks a package knows links.
        shutil.copy(source / name, package / name)
    print(f"{len(files)} files of {source} beside the worker, {size >> 20} MB with it (Lambda takes {MOST_BYTES >> 20})")


def found(source: Path, root: Path, folder: Path):
    """The files beneath a folder, by their paths from the source."""
    if folder.parts and not readable(source / folder, stat.S_IROTH | stat.S_IXOTH):
        unreadable(source, folder)
    for path in sorted((source / folder).iterdir()):
        name = folder / path.name
        real = path.resolve()
        if path.is_symlink() and not real.is_relative_to(root):
            fail(f"{path} is a link to {real}, outside of {source}: copy the file itself there")
        if path.is_symlink() and (not real.exists() or path.parent.resolve().is_relative_to(real)):
            fail(f"{path} is a link to {real}, which is {'its own folder' if real.exists() else 'not there'}: remove it")
        if path.is_dir():
            yield from found(source, root, name)
        elif not path.is_file():
            fail(f"{path} is neither a file nor a folder: remove it")
        elif not readable(path, stat.S_IROTH):
            unreadable(source, name)
        else:
            yield name


def readable(path: Path, bits: int) -> bool:
    return path.stat().st_mode & bits == bits


def unreadable(source: Path, name: Path) -> None:
    mode = stat.S_IMODE((source / name).stat().st_mode)
    fail(f"{source / name} has the mode {mode:04o}, and on Lambda the worker is not its owner: run chmod -R o+rX {source}")


def fail(message: str) -> None:
    sys.exit(f"scripts/build: {message}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
