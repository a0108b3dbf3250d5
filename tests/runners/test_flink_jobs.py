"""The status lines of Flink jobs, and how a job ended."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.cluster import job_name
from runners.flink import jobs
from runners.flink.cluster import JobManager
from schemas.errors import ServiceUnavailable

STATES = (
    "INITIALIZING", "CREATED", "RUNNING", "FAILING", "FAILED", "CANCELLING", "CANCELED", "FINISHED", "RESTARTING",
    "SUSPENDED", "RECONCILING",
)  # fmt: skip
"""All of Flink's."""


def job(jid: str, state: str, name: str = "a-stream") -> dict[str, Any]:
    """As the REST interface tells it."""
    return {"jid": jid, "state": state, "duration": 1_000, "name": name}


class Answers(JobManager):
    """A JobManager that answers what a test says."""

    def __init__(self, folder: Path, found: list[dict[str, Any]], savepoint: int = 0, checkpoint: int = 0) -> None:
        super().__init__(folder, 1)
        self.found = found
        self.failures: dict[str, list[dict[str, Any]]] = {}
        self.cancelled: list[str] = []
        self._latest = {
            "savepoint": {"id": savepoint, "external_path": "file:/savepoint"} if savepoint else None,
            "completed": {"id": checkpoint} if checkpoint else None,
        }

    def request(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        if path == "overview":
            return {"flink-version": "1.19.3", "taskmanagers": 2, "slots-available": 1, "slots-total": 2}
        if path.endswith("/exceptions"):
            return {"exceptionHistory": {"entries": self.failures.get(path.split("/")[1], [])}}
        if method == "PATCH":
            self.cancelled.append(path)
            return {}
        return {"jobs": self.found} if path == "jobs/overview" else {"latest": self._latest}


def test_status_lines_have_separate_columns(tmp_path: Path) -> None:
    lines = list(jobs.status_lines(Answers(tmp_path, [job("1f", state) for state in STATES])))
    assert [line.split() for line in lines[1:]] == [[state, "1f", "1", "s", "a-stream"] for state in STATES]


@pytest.mark.parametrize(
    ("states", "savepoint", "checkpoint", "code"),
    [
        (["CANCELED"], 7, 6, 0),
        (["CANCELED"], 7, 0, 0),
        (["CANCELED"], 7, 7, 0),  # Flink counts a savepoint among those that are completed
        (["CANCELED"], 7, 8, 130),  # an old one
        (["CANCELED"], 0, 8, 130),
        (["CANCELED"], 0, 0, 130),
        (["FAILED"], 7, 6, None),
        (["FINISHED"], 0, 0, None),
        (["CANCELED", "FAILED"], 7, 6, None),  # of one name: which of them this is nobody can say
        ([], 0, 0, None),
    ],
)
def test_how_a_job_ended(states: list[str], savepoint: int, checkpoint: int, code: int | None, tmp_path: Path) -> None:
    others = [job("before", "CANCELED"), job("another", "FAILED", "another-stream")]
    found = [job(f"new-{state}", state) for state in states]
    ended = jobs.ended_by_user(Answers(tmp_path, others + found, savepoint, checkpoint), "a-stream", {"before"})
    assert (ended and ended.exit_code) == code
    assert ended is None or "a-stream" in str(ended)
    assert (code == 0) == ("file:/savepoint" in str(ended))


def test_it_waits_for_a_job_that_is_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Answers(tmp_path, [job("new", "CANCELLING")])
    monkeypatch.setattr("time.sleep", lambda _: manager.found[0].update(state="CANCELED"))
    ended = jobs.ended_by_user(manager, "a-stream", ())
    assert ended is not None
    assert ended.exit_code == 130


def failure(error: str, *beside: str) -> dict[str, Any]:
    """As Flink keeps it of a worker, with those of other subtasks at the same time."""
    harness = "java.util.concurrent.ExecutionException: java.lang.RuntimeException: Error received from SDK harness"
    text = (
        f"{harness} for instruction 1: Traceback (most recent call last):\n"
        f"  File \"transforms/refusals.py\", line 109, in _judge\n    raise\n{error} [while running 'Decode/ParDo']\n\n"
        "\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(FnApiControlClient.java:180)\n"
    )
    entry = {"exceptionName": "java.util.concurrent.ExecutionException", "stacktrace": text}
    return entry | ({"concurrentExceptions": [failure(other) for other in beside]} if beside else {})


SERVICE = failure("schemas.errors.ServiceUnavailable: s3://lake: no answer")
JAVA = {"exceptionName": "java.lang.Exception", "stacktrace": "java.lang.Exception: a TaskManager is gone\n\tat a.b.c"}


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ([failure("schemas.errors.InputUnusable: unit u: refused. Is it right?")], 3),
        ([SERVICE, JAVA, failure("schemas.errors.InputUnusable: unit u: refused. Is it right?"), SERVICE], 3),
        ([failure("RuntimeError: schemas.errors.InputUnusable: unit u: refused. Is it right?")], 3),
        ([failure("RuntimeError: cancelled", "schemas.errors.LakeDamaged: unit u: refused. Is it right?")], 3),
        ([failure("schemas.errors.UnsafePath: unit u: refused. Is it right?")], 3),
        ([failure("schemas.errors.OutputUnusable: unit u: refused. Is it right?")], 2),
        ([failure("schemas.errors.DiskFull: unit u: refused. Is it right?")], 5),
        ([failure("schemas.errors.InputChanged: unit u: refused. Is it right?")], 6),
        ([failure("schemas.errors.NotPermitted: unit u: refused. Is it right?")], 7),
        ([], None),
        ([SERVICE, JAVA], None),
        ([failure("schemas.errors.InUse: somebody else")], None),
        ([failure("schemas.errors.NotReconciled: no report from a step")], None),
        ([failure("BrokenPipeError: [Errno 32] Broken pipe")], None),
        ([failure("TypeError: a fault of the program")], None),
    ],
)
def test_a_job_is_cancelled_for_an_error_that_restarts_repeat(
    failures: list[dict[str, Any]], code: int | None, tmp_path: Path
) -> None:
    states = [("before", "RUNNING"), ("mine", "RESTARTING"), ("done", "FINISHED")]
    manager = Answers(tmp_path, [job(jid, state) for jid, state in states] + [job("other", "RUNNING", "b-stream")])
    manager.failures = dict.fromkeys(("before", "mine", "done", "other"), failures)
    final = jobs.FinalErrors(manager, "a-stream", {"before"})
    final.check()
    assert (final.found and final.found.exit_code) == code
    assert manager.cancelled == (["jobs/mine?mode=cancel"] if code else [])
    assert code is None or str(final.found) == "unit u: refused. Is it right?"


def test_watching_survives_a_jobmanager_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    seen = threading.Event()

    def check(self: jobs.FinalErrors) -> None:
        looks.append(1)
        if len(looks) == 3:
            seen.set()
        raise ServiceUnavailable("away")

    monkeypatch.setattr(jobs, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(jobs.FinalErrors, "check", check)
    with jobs.FinalErrors(Answers(tmp_path, []), "a-stream", ()).watching():
        assert seen.wait(60)
    assert len(looks) >= 3


def test_status_shows_an_error_that_restarts_repeat(tmp_path: Path) -> None:
    manager = Answers(tmp_path, [job("1f", "RESTARTING"), job("2f", "RUNNING")])
    manager.failures = {"1f": [failure("schemas.errors.InputUnusable: deleted messages")], "2f": [SERVICE]}
    _, *lines = jobs.status_lines(manager)
    assert len(lines) == 3
    assert lines[1].endswith(": deleted messages")


@pytest.mark.parametrize(
    ("root", "lake"),
    [
        ("s3://prestacop/lake", "-lake"),
        ("data/My Lake/", "-my-lake"),
        ("/", ""),
        ("..", ""),
        ("s3://bucket/Verstöße_2015", "-verst-e-2015"),
    ],
)
def test_a_job_has_a_name_that_people_find(root: str, lake: str) -> None:
    assert re.fullmatch(rf"prestacop{lake}-\d{{8}}-\d{{6}}", job_name(root))
