"""Ports of this machine."""

import socket
from contextlib import closing
from secrets import randbelow

HOST = "127.0.0.1"
_FIRST, _COUNT = 20_000, 12_000
"""Below what systems give to outgoing connections, which would take such a port before its server does."""
_given: set[int] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with closing(socket.socket()) as probe:
        # As servers do: what is left of closed connections is no reason to wait.
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
    """A port that nothing listens on and that was not given before; not by ``random``, whose seed tests set."""
    while True:
        port = _FIRST + randbelow(_COUNT)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
