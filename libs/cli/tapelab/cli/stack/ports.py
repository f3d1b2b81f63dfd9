"""Free ports on loopback."""

from __future__ import annotations

import socket


def free_port(preferred: int = 0) -> int:
    """A free TCP port on 127.0.0.1: the preferred one if it is free, else one the system picks."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
