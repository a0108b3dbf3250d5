"""Beam's ports listen on 127.0.0.1 only: who reaches one can run code as the user of the pipeline."""

from contextlib import suppress
from functools import wraps
from ipaddress import IPv6Address, ip_address
from typing import Any

import grpc
import psutil

HOST = "127.0.0.1"
_EVERYWHERE = ("[::]", "0.0.0.0", "")


def listen_here_alone() -> None:
    """From now on no gRPC server of this process listens on all addresses.

    Beam gives its servers, those of the FnApiRunner and the pool of LOOPBACK workers, the address ``[::]``, and has no
    option for it; their clients call ``localhost``.
    """
    made = grpc.server
    if hasattr(made, "__wrapped__"):
        return

    @wraps(made)
    def server(*arguments: Any, **options: Any) -> Any:
        new = made(*arguments, **options)
        add = new.add_insecure_port
        new.add_insecure_port = lambda address: add(_here(address))
        return new

    grpc.server = server


def reachable(pid: int) -> list[str]:
    """The addresses, ``HOST:PORT``, at which a process and its children listen to more than this machine."""
    found = set[str]()
    with suppress(psutil.NoSuchProcess):  # it has ended
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found |= _listening(one)
    return sorted(found)


def _listening(process: psutil.Process) -> set[str]:
    sockets = (socket for socket in process.net_connections("tcp") if socket.status == psutil.CONN_LISTEN)
    return {f"{socket.laddr.ip}:{socket.laddr.port}" for socket in sockets if not is_loopback(socket.laddr.ip)}


def is_loopback(host: str) -> bool:
    """Whether an address, without its port, is one of this machine alone."""
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:  # as Java listens
        address = address.ipv4_mapped
    return address.is_loopback


def _here(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{HOST}:{port}" if host in _EVERYWHERE else address
