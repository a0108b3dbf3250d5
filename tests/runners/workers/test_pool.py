"""The pool of Python workers: what it starts, and that nothing is left."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2

from runners.workers.pool import Pool
from tests.support import wait_until

pytestmark = pytest.mark.embedded


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool of this process, without a server."""
    pool = Pool()
    yield pool
    pool.close()


def start(pool: Pool, name: str) -> psutil.Process:
    """A worker that waits for a runner, of which nothing listens."""
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id=name)
    for endpoint in (request.provision_endpoint, request.control_endpoint):
        endpoint.url = "127.0.0.1:1"
    before = set(psutil.Process().children(recursive=True))
    pool.StartWorker(request, None)
    new = (p for p in psutil.Process().children(recursive=True) if p not in before)
    (worker,) = (p for p in new if p.ppid() != os.getpid())
    return worker


def blocked_signals(process: psutil.Process) -> int:
    """The mask of the signals that a process blocks."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (mask,) = (line.split()[1] for line in lines if line.startswith("SigBlk:"))
    return int(mask, 16)


def test_workers_are_forks_of_one_process_that_take_signals(pool: Pool) -> None:
    first, second = start(pool, "1"), start(pool, "2")
    assert first.ppid() == second.ppid() != psutil.Process().pid
    wait_until(lambda: not blocked_signals(first))  # else a worker ends after a time limit, by SIGKILL
    stop = beam_fn_api_pb2.StopWorkerRequest(worker_id="1")
    pool.StopWorker(stop, None)
    assert not first.is_running()
    assert second.is_running()
    pool.close()
    assert not second.is_running()
    assert not psutil.Process().children(recursive=True)


def test_a_worker_that_has_ended_is_stopped_too(pool: Pool) -> None:
    worker = start(pool, "1")
    worker.kill()
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1"), None)
    assert not worker.is_running()
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="never started"), None)


def test_a_killed_process_of_forks_is_started_again(pool: Pool) -> None:
    first = start(pool, "1")
    forks = first.parent()
    assert forks is not None
    forks.kill()
    wait_until(lambda: not forks.is_running() or forks.status() == psutil.STATUS_ZOMBIE)
    assert start(pool, "2").is_running()
