"""Where things are, and what every client of the local AWS needs to know."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REQUIREMENTS = PROJECT / "scripts" / "requirements"
TEMPLATE = PROJECT / "template.yaml"
SAMCONFIG = PROJECT / "samconfig.toml"
DIST = PROJECT / "dist"

STATE = PROJECT / ".stack"
PID = STATE / "server.pid"
PORT = STATE / "server.port"
SERVER_LOG = STATE / "server.log"
DEPLOY_LOG = STATE / "deploy.log"
OUTPUTS = STATE / "outputs.json"
AWS_CONFIG = STATE / "aws-config"
# There where roles are enforced.
ENFORCED_TEMPLATE = STATE / "template.yaml"
# There where it is strict: with what.
STRICT = STATE / "strict.json"



def clusters_state() -> Path:
    """Where test clusters are kept (scripts/cluster). A socket's path has 107 bytes at most, and the kubelet's are the
    longest: a checkout deep down keeps its clusters elsewhere."""
    own = PROJECT / ".clusters"
    digest = hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:8]
    return own if len(os.fsencode(own)) <= 60 else Path("/tmp") / f"fanfold-clusters-{digest}"


# Where the parts of test clusters listen, if there are any.
CLUSTER_PORTS = clusters_state() / "ports.json"

REGION = "us-east-1"


def cache() -> Path:
    if own := os.environ.get("FANFOLD_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fanfold"


def programs(profile: str) -> Path:
    """Where cargo puts what it builds; the target is that of .cargo/config.toml."""
    target = Path(os.environ.setdefault("CARGO_TARGET_DIR", str(cache() / "target")))
    return target / "x86_64-unknown-linux-gnu" / ("release" if profile == "release" else "debug")


def wanted_port() -> int | None:
    """The port that was asked for, if one was."""
    text = os.environ.get("FANFOLD_PORT")
    if not text:
        return None
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        fail(f"FANFOLD_PORT is '{text}'; allowed: 1024 to 65535")
    return int(text)


def template() -> Path:
    """The template that is deployed here."""
    return ENFORCED_TEMPLATE if ENFORCED_TEMPLATE.exists() else TEMPLATE


def endpoint(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def credentials() -> dict[str, str]:
    """Dummies: the local AWS takes any, and with these nothing can reach a real account."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Instead of the caller's own, with whatever they say.
        "AWS_CONFIG_FILE": str(AWS_CONFIG),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def clean_environment() -> dict[str, str]:
    """What a program of ours gets of the caller's environment: nothing of AWS, no profile, no region."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TERM")
    return {name: os.environ[name] for name in kept if name in os.environ}


def client_environment(port: int) -> dict[str, str]:
    return clean_environment() | credentials() | {"AWS_ENDPOINT_URL": endpoint(port)}


def begin_state() -> None:
    discard_state()
    (STATE / "tmp").mkdir(parents=True)
    # Buckets as host names would not resolve here.
    AWS_CONFIG.write_text(f"[default]\nregion = {REGION}\ns3 =\n  addressing_style = path\n")


def discard_state() -> None:
    shutil.rmtree(STATE, ignore_errors=True)


def fail(message: str) -> None:
    sys.exit(f"scripts/stack: {message}")
