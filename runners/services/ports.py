"""Ports of this machine."""

import socket
from contextlib import closing
from secrets import randbelow

HOST = "127.0.0.1"
_FIRST, _COUNT = 20_000, 12_000
"""Below the ephemeral ports, one of which an outgoing connection might take before the server does."""
_given: set[int] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with closing(socket.socket()) as probe:
        # As servers do: closed connections in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_open(port: int) -> bool:
    """Whether something listens there."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A port that nothing listens on and that was not given before. Not from ``random``, which tests seed."""
    while True:
        port = _FIRST + randbelow(_COUNT)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
