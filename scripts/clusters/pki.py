"""Keys and certificates, by the `openssl` of the machine."""

import subprocess
from pathlib import Path

from .settings import fail, unsupported

DAYS = "3650"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]

REQUEST = """
[req]
distinguished_name = none
x509_extensions = extensions
[none]
[extensions]
"""
AUTHORITY = """
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
"""
LEAF = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
"""


class Authority:
    """A certificate authority and what it signed, in a folder."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self.certificate = folder / "ca.crt"
        if not self.certificate.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.make("ca", f"/CN={name}", AUTHORITY, [])

    def issue(self, name: str, subject: str, hosts: str = "") -> tuple[Path, Path]:
        """A certificate and its key, for a client or for a server at these hosts; made once."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        if not certificate.exists():
            extensions = LEAF + (f"subjectAltName = {hosts}\n" if hosts else "")
            self.make(name, subject, extensions, ["-CA", self.certificate, "-CAkey", self.folder / "ca.key"])
        return certificate, key

    def make(self, name: str, subject: str, extensions: str, signer: list) -> None:
        # Made under another name first: a file that is there is whole.
        fresh = self.folder / f"{name}.new"
        configuration = REQUEST + extensions
        openssl(
            "req", "-x509", "-config", "/dev/stdin", *KEY, *signer, "-subj", subject, "-days", DAYS,
            "-keyout", self.folder / f"{name}.key", "-out", fresh, given=configuration,
        )
        fresh.rename(self.folder / f"{name}.crt")

    def key_pair(self, name: str) -> tuple[Path, Path]:
        """A private key and its public key, without a certificate."""
        private, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        if not public.exists():
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", private)
            openssl("pkey", "-in", private, "-pubout", "-out", public)
        return private, public


def openssl(*words: str | Path, given: str = "") -> None:
    try:
        done = subprocess.run(["openssl", *words], input=given, capture_output=True, text=True)
    except FileNotFoundError:
        unsupported("openssl is not installed")
    if done.returncode != 0:
        fail(f"openssl {words[0]} failed: {done.stderr.strip()}")
