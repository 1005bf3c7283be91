"""Where programs listen: ports of 127.0.0.1, and sockets in folders."""

import json
import socket
from pathlib import Path

from local.server import is_taken

from .settings import PORTS

# Below the ports that a kernel gives to outgoing connections: a program that is stopped finds its own port free again.
FIRST, LAST = 21000, 32000


def port_of(listener: str) -> int:
    """The same port for as long as the state is kept; one that is free at first."""
    ports = json.loads(PORTS.read_text()) if PORTS.exists() else {}
    if listener not in ports:
        used = ports.values()
        ports[listener] = next(port for port in range(FIRST, LAST) if port not in used and not is_taken(port))
        PORTS.write_text(json.dumps(ports, indent=2))
    return ports[listener]


def answers(place: Path) -> bool:
    """Whether somebody listens at a socket; its file stays when a program is killed."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0
