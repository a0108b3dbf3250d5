"""Finds the unit tests that start a process or listen on a socket.

A module of its own that imports nothing: Python keeps an audit hook, and whatever it refers to, until it exits.
"""

import sys

EVENTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "socket.bind"}
LDCONFIG = "/sbin/ldconfig"
"""The one program that a unit test may start: ctypes.util.find_library does, wherever a module loads a library."""

found: list[str] = []
"""What was started since the last call of watch."""
_watching = False


def watch(on: bool) -> None:
    """Begin to record, or end."""
    global _watching  # noqa: PLW0603
    _watching = on
    if on:
        found.clear()


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in EVENTS and arguments[0] != LDCONFIG:
        found.append(f"{event} {arguments}")


sys.addaudithook(_audit)
