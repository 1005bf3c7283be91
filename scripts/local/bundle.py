"""`scripts/bundle-python`: the Python that runs this, in a folder that is all it needs."""

import argparse
import compileall
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Iterator

ABOUT = """\
Puts the Python that runs this into DIR/bin/python3 and DIR/python, with its standard library, its shared libraries and
the C library, so that it needs nothing of the machine it runs on but Linux on x86_64. What it copies is this machine's
own, under its own licences: Python's, and those of the libraries (the GNU C library is under the LGPL).

  scripts/bundle-python package --requirements requirements.txt
  cp program.py package/
  scripts/build --with package          its pipelines say `command: [python3, program.py]`"""

# Of the standard library: what a program on a server has no use for.
LEFT_OUT = ("__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip",
            "lib2to3", "pydoc_data", "config-*", "*.a", "_tkinter*", "_test*", "_xxtest*", "xxlimited*", "_ctypes_test*")
# What the C library loads by itself: threads cannot end without the first, and names of hosts are not found by older
# versions without the others.
LOADED_LATE = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")
LIBRARY = re.compile(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x", re.MULTILINE)
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

# The loader is named in every program by its absolute path, where another machine has another one: it is called itself.
# To programs that this Python starts it is this script, by which they start it in turn.
WRAPPER = """\
#!/bin/sh
python=${{0%/*}}/../python
export PYTHONHOME="$python"
export PYTHONPATH="$python/packages${{PYTHONPATH:+:$PYTHONPATH}}"
export SSL_CERT_FILE="${{SSL_CERT_FILE:-$python/certificates.crt}}"
exec "$python/lib/{loader}" --library-path "$python/lib" --argv0 "$0" "$python/bin/{program}" "$@"
"""

# Run in the end, without any environment: it must start, and have no program or library of this machine in its memory.
CHECK = """\
import csv, ctypes, decimal, hashlib, json, socket, sqlite3, ssl, subprocess, sys, threading, zlib
threading.Thread(target=len, args=[""]).start()
subprocess.run([sys.executable, "-c", ""], check=True)
folder = sys.argv[1]
mapped = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if " r-xp " in line and "/" in line}
if foreign := sorted(path for path in mapped if not path.startswith(folder)):
    sys.exit(f"it maps {', '.join(foreign)}")
print(sys.version.split()[0])
"""


def main() -> None:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser("scripts/bundle-python", description=ABOUT, formatter_class=raw)
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there; what else is in it stays")
    parser.add_argument("--requirements", type=Path, metavar="FILE", help="packages to come along, as pip reads them")
    arguments = parser.parse_args()
    version = bundle(arguments.folder, arguments.requirements)
    print(f"{arguments.folder}/bin/python3 is Python {version}; {size(arguments.folder) / 1e6:.0f} MB in all")


def bundle(folder: Path, requirements: Path | None = None) -> str:
    """Makes the bundle; the version that it says it is."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        fail(f"functions run Linux on x86_64, and this is {sys.platform} on {platform.machine()}: use a container image, as README has it")
    if requirements and not requirements.is_file():
        fail(f"there is no file {requirements}")
    python = folder / "python"
    shutil.rmtree(python, ignore_errors=True)
    (python / "bin").mkdir(parents=True)
    (python / "lib").mkdir()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, python / "lib" / version, ignore=shutil.ignore_patterns(*LEFT_OUT))
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    shutil.copy(interpreter, python / "bin" / version)
    if requirements:
        install(requirements, python / "packages")
    loader = copy_libraries([interpreter, *python.rglob("*.so"), *python.rglob("*.so.*")], python / "lib")
    certificates = next((Path(path) for path in CERTIFICATES if Path(path).is_file()), None)
    if certificates:
        shutil.copy(certificates, python / "certificates.crt")
    # A function's files are read-only, so that it would compile them anew at every start. By their content, for the times
    # of files do not survive being packed.
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(python, quiet=2, workers=0, invalidation_mode=unchecked)
    (folder / "bin").mkdir(exist_ok=True)
    wrapper = folder / "bin" / "python3"
    wrapper.write_text(WRAPPER.format(loader=loader, program=version))
    wrapper.chmod(0o755)
    subprocess.run(["chmod", "-R", "u+w,go+rX", python], check=True)
    return checked(wrapper, folder)


def install(requirements: Path, packages: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages]
    if subprocess.run([*pip, "--requirement", requirements]).returncode != 0:
        fail(f"pip could not install what {requirements} names")


def copy_libraries(programs: list[Path], place: Path) -> str:
    """Copies the shared libraries that programs and libraries want; the loader's name."""
    wanted = {name: path for program in programs for name, path in libraries_of(program)}
    loader = next((name for name in wanted if name.startswith("ld-")), None)
    if not loader or "libc.so.6" not in wanted:
        fail(f"{programs[0]} does not use the GNU C library as a shared one: use another Python")
    beside = wanted["libc.so.6"].parent
    late = [beside / name for name in LOADED_LATE] + [Path("/usr/lib64") / name for name in LOADED_LATE]
    wanted |= {path.name: path for path in late if path.is_file() and path.name not in wanted}
    for name, path in wanted.items():
        shutil.copy(path.resolve(), place / name)
    strip([path for path in place.rglob("*.so*") if path.name != loader])
    return loader


def strip(libraries: list[Path]) -> None:
    """Leaves out what only debuggers read, which may be most of a library, where there is a program that does."""
    if program := shutil.which("strip"):
        subprocess.run([program, "--strip-debug", *libraries], stderr=subprocess.DEVNULL)


def libraries_of(program: Path) -> Iterator[tuple[str, Path]]:
    """What the loader finds for a program on this machine. What it does not find is not there for this Python either."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    for found in LIBRARY.finditer(told):
        path = Path(found["path"])
        yield Path(found["name"] or path).name, path


def checked(wrapper: Path, folder: Path) -> str:
    command = [wrapper.resolve(), "-c", CHECK, folder.resolve()]
    done = subprocess.run(command, env={}, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{wrapper} does not run by itself: {done.stderr.strip()}")
    return done.stdout.strip()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fail(message: str) -> None:
    sys.exit(f"scripts/bundle-python: {message}")
