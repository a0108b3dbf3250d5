"""The job server that passes pipelines to a runner, as a child of this process: Prism, or one in Java."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from pipelines.cli.loopback import reachable
from schemas.errors import ServiceUnavailable

START_SECONDS = 60
GONE_SECONDS = 1
_UNTIL_PARENT_ENDS = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; exec keeps it
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""
"""It runs after exec: between fork and exec the fork handlers of gRPC may abort in a process with threads."""


@contextmanager
def job_server(
    name: str,
    command: Callable[[int], list[str]],
    log: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run it while the body runs; gives its address. It dies with this process, however this process dies.

    Args:
        name: for messages.
        command: how to start it on that port.
        log: a file descriptor that gets what it prints; None: the output of this process.
        environment: variables in addition to those of this process.

    Raises:
        ServiceUnavailable: it did not start, it listens on more than 127.0.0.1, or it ended while the body ran.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = command(port)
    with subprocess.Popen(
        [*_until_this_process_ends(), *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=os.environ | (environment or {}),
        process_group=0,  # Ctrl-C in the terminal is handled by this process
    ) as process:
        try:
            _wait(name, words, process, port)
            _refuse_if_reachable(name, process)
            with _blamed(name, process):
                yield f"127.0.0.1:{port}"
        finally:
            process.kill()  # it has no state


def _wait(name: str, command: Sequence[str], process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ServiceUnavailable(f"{name} did not start ({process.poll()}): {shlex.join(command)}")


def _refuse_if_reachable(name: str, process: subprocess.Popen[bytes]) -> None:
    """Who reaches a job server can run code as its user."""
    open_to_all = reachable(process.pid)
    if open_to_all:
        raise ServiceUnavailable(
            f"{name} would take pipelines from the whole network, at {', '.join(open_to_all)}, and was ended. "
            "Those that make services-install, flink-up and spark-up build listen on 127.0.0.1 alone: "
            "leave --prism_location out"
        )


@contextmanager
def _blamed(name: str, process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(GONE_SECONDS)
            raise ServiceUnavailable(f"{name} has ended ({code}); run the same command again: it resumes") from error
        raise


def _until_this_process_ends() -> list[str]:
    """Words before a command, so that it is killed when this process ends, even by SIGKILL."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-ISc", _UNTIL_PARENT_ENDS, str(os.getpid())]
