"""Free ports on loopback."""

from __future__ import annotations

import random
import socket
from typing import Final

#: Below the range from which systems take the ports of outgoing connections (32768 on Linux, 49152 elsewhere),
#: so that none of those takes a port between its being found free and its being used.
_RANGE: Final = range(20_000, 32_000)
_TRIES: Final = 500
_given: set[int] = set()


def free_port(preferred: int = 0) -> int:
    """A free TCP port on 127.0.0.1, each time another one.

    Args:
        preferred: this one or the next free one after it; 0 for any.

    Raises:
        OSError: none is free.
    """
    wanted = range(preferred, 65_536) if preferred else random.SystemRandom().sample(_RANGE, _TRIES)
    for port in wanted:
        if port not in _given and _free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port on 127.0.0.1 from {preferred}" if preferred else "no free port on 127.0.0.1")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
