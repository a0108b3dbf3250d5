"""``python -m runners.workers.pool``: starts Python workers for the runner of the same machine (``EXTERNAL``).

Beam's own pool listens on all addresses and starts any program; this one listens on 127.0.0.1 only. Workers are forks
of one process beside it, which has no thread (:mod:`runners.workers.forks`).
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import psutil
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from runners.services.ports import HOST

STOP_SECONDS = 5


class Pool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]  # generated, untyped
    """The workers of this machine, each a process."""

    def __init__(self) -> None:
        self._workers: dict[str, psutil.Process] = {}
        self._lock = threading.Lock()
        self._forks = _start_forks()

    def StartWorker(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # the protocol's name
        """Start a process. If it fails, its log has the reason, and the runner reports a missing worker."""
        arguments = {
            "id": request.worker_id,
            "logging_endpoint": request.logging_endpoint.url,
            "artifact_endpoint": request.artifact_endpoint.url,
            "provision_endpoint": request.provision_endpoint.url,
            "control_endpoint": request.control_endpoint.url,
        }
        flags = [f"--{name}={value}" for name, value in arguments.items()]
        with self._lock:
            self._collect()
            self._workers[request.worker_id] = self._fork(flags)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Stop a process that was started, if it still runs."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker:
            _end(worker)
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Stop all of them."""
        with self._lock:
            for worker in self._workers.values():
                with suppress(psutil.NoSuchProcess):
                    worker.terminate()
            for worker in self._workers.values():
                _end(worker)
            with self._forks:
                self._forks.kill()  # it has no state, and may import still

    def _fork(self, flags: list[str]) -> psutil.Process:
        pid = _ask(self._forks, flags)
        if pid is None:  # somebody, or the system, has killed it
            with self._forks:
                self._forks = _start_forks()
            pid = _ask(self._forks, flags)
        if pid is None:
            raise ChildProcessError("the process that starts the workers has ended; the lines above say why")
        return psutil.Process(pid)

    def _collect(self) -> None:
        """Remove those that have ended, as they do when their runner is killed."""
        self._workers = {name: worker for name, worker in self._workers.items() if worker.is_running()}


def _start_forks() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "runners.workers.forks"]
    return subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _ask(forks: subprocess.Popen[bytes], flags: list[str]) -> int | None:
    """Start a worker; gives its process id, or None where the process that forks has ended."""
    assert forks.stdin
    assert forks.stdout
    with suppress(BrokenPipeError):
        forks.stdin.write(json.dumps(flags).encode() + b"\n")
    line = forks.stdout.readline()
    return int(line) if line else None


def _end(worker: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        worker.terminate()
        try:
            worker.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            worker.kill()
            worker.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m runners.workers.pool", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the port for the runner")
    arguments = parser.parse_args(argv)
    pool = Pool()
    server = grpc.server(ThreadPoolExecutor(8))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"{HOST}:{arguments.port}")
    server.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(grace=None)
    pool.close()


if __name__ == "__main__":
    # Before any thread starts: a thread with the default handler would end the process and leave its workers running.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
