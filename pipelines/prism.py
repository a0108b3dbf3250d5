"""Prism, Beam's own local runner that streams, as a child of this process."""

import ctypes
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from schemas.errors import ServiceUnavailable

BUILT = ".services/prism-*/prism"
"""Where ``make services-install`` puts it."""
START_SECONDS = 30
GONE_SECONDS = 1
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def find_prism(given: str | None) -> str | None:
    """The path of the binary: the one that was given, the project's own, or one on the PATH; None where it is not."""
    if given:
        return shutil.which(given)
    return next(iter(glob.glob(BUILT)), None) or shutil.which("prism")


@contextmanager
def prism(binary: str) -> Iterator[str]:
    """Run Prism while the body runs; gives its address. It dies with this process, however this process dies.

    Raises:
        ServiceUnavailable: it did not start, or the body failed as it had ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, f"--job_port={port}", "--serve_http=false", "--log_kind=text", "--log_level=warn"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent) as process:  # noqa: PLW1509
        try:
            _wait(process, port)
            with _blamed(process):
                yield f"127.0.0.1:{port}"
        finally:
            process.kill()  # it keeps nothing


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ServiceUnavailable(f"{process.args!r} did not start; build it again with make services-up")


@contextmanager
def _blamed(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(GONE_SECONDS)
            raise ServiceUnavailable(f"Prism has ended ({code}); run the same command again, it goes on") from error
        raise


def _die_with_parent() -> None:
    os.setpgrp()  # Ctrl-C in the terminal is for us to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
