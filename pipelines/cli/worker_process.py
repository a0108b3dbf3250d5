"""Workers of the local runner as processes: they start with a run, report what they count, and end with the command.

A worker's stdin ends with the command, also after a kill -9: the worker then exits. On its stdout it reports its
counters, which are added to those of this process, and the end of stdout shows that it has ended. Beam's own handler of
worker processes waits for ever for one that was killed, and does not show their logs.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, Final, TextIO, cast

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format

from lake.memory import share_memory
from lake.retries import requests
from schemas.errors import ServiceUnavailable
from sources.progress import progress
from terminal import logs
from terminal.arguments import add_log_flags
from terminal.every import every
from terminal.signals import SIGNALS

_REPORT_SECONDS: Final = 0.2
_FAIL_SECONDS: Final = 0.5
_END_SECONDS: Final = 10.0
"""For a worker to exit after its last bundle."""


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WorkerProcess(GrpcWorkerHandler):  # type: ignore[misc]  # Beam's classes are untyped
    """What the runner has of a worker process; takes the place of Beam's class for it.

    Where the process ends before it is closed, what waits for it fails with a ServiceUnavailable, as if the worker had
    raised it.
    """

    def __init__(self, command: bytes, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._closed = threading.Event()

    def start_worker(self) -> None:
        options = json_format.MessageToJson(self.provision_info.provision_info.pipeline_options)
        control = text_format.MessageToString(self.control_api_service_descriptor())
        beam = {"PIPELINE_OPTIONS": options, "WORKER_ID": self.worker_id, "CONTROL_API_SERVICE_DESCRIPTOR": control}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *logs.flags()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | beam,
            process_group=0,  # Ctrl-C in the terminal is handled by this process
        )
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        """Add what the worker counts, until it ends."""
        assert self._process.stdout
        for line in self._process.stdout:
            counts = json.loads(line)
            progress.add(counts)
            requests.add(counts)
        code = self._process.wait()
        by = f"signal {-code}" if code < 0 else f"exit code {code}"
        error = (
            f"{__name__}.{ServiceUnavailable.__name__}: a worker process ended with {by}; run the same command again: "
            "it resumes. Where memory is short, --direct_running_mode multi_threading takes less"
        )
        while not self._closed.wait(_FAIL_SECONDS):  # again, as the runner may send it more
            for number, future in list(self.control_conn._futures_by_id.items()):
                future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=number, error=error))

    def close(self) -> None:
        self._closed.set()
        super().close()

    def stop_worker(self) -> None:
        with self._process:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._follower.join()


def counts() -> Counter[str]:
    """All counters of this process."""
    return progress.counts() + requests.counts()


@contextmanager
def reported(to: TextIO) -> Iterator[None]:
    """Write what is counted while the body runs as lines of JSON."""
    before = Counter[str]()

    def report() -> None:
        now = counts()
        if more := now - before:
            before.update(more)
            print(json.dumps(more), file=to, flush=True)

    try:
        with every(_REPORT_SECONDS, report):
            yield
    finally:
        report()


def main() -> None:
    """A worker."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no report
    threading.Thread(target=_exit_with_command, daemon=True).start()
    share_memory()
    logging.getLogger().handlers.clear()  # the import of Beam logs, and so makes one
    logs.set_up()
    add_log_flags(argparse.ArgumentParser()).parse_args()
    with redirect_stderr(cast(TextIO, logs.TracebacksAsRecords(sys.stderr))):
        _, harness, _ = sdk_worker_main.create_harness(os.environ)
        logs.set_up()  # Beam has chosen a level
        with reported(reports):
            harness.run()
    os._exit(0)  # threads of Beam and of clients are left


def _exit_with_command() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
