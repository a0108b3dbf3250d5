"""The jobs of a Flink cluster, by its REST interface."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipelines.cli.app import JobEnded
from pipelines.cli.worker_errors import raised_by_worker
from runners.flink.cluster import JobManager
from runners.services import Services
from schemas.errors import FINAL, InputChanged, PrestaCopError, ServiceUnavailable
from terminal.every import every

SAVEPOINT_SECONDS = 120
POLL_SECONDS = 0.2
ENDING_SECONDS = 10
WATCH_SECONDS = 1
ENDED = ("FINISHED", "CANCELED", "FAILED")
CANCELLED = 130
"""The exit code of a job that was cancelled without a savepoint: it was stopped, as by Ctrl-C."""


def status_lines(manager: JobManager) -> Iterator[str]:
    """The jobs and slots, for people."""
    overview = manager.request("overview")
    yield (
        f"\nhttp://{manager.address}  Flink {overview['flink-version']}: {overview['taskmanagers']} TaskManagers, "
        f"{overview['slots-available']} of {overview['slots-total']} slots free"
    )
    for job in manager.request("jobs/overview")["jobs"]:
        yield f"  {job['state']:<12} {job['jid']}  {job['duration'] / 1000:,.0f} s  {job['name']}"
        if job["state"] not in ENDED and (error := final_error(manager, job["jid"])):
            yield f"    no restart helps, stop the job: {error}"
    if snapshot := newest_snapshot(manager):
        yield f"  newest checkpoint or savepoint: {snapshot}"


def running_ids(manager: JobManager) -> list[str]:
    """The ids of the jobs that run or restart."""
    return [job["jid"] for job in manager.request("jobs/overview")["jobs"] if job["state"] not in ENDED]


def all_ids(manager: JobManager) -> set[str]:
    """The ids of all jobs, ended ones too."""
    return {job["jid"] for job in manager.request("jobs/overview")["jobs"]}


def ended_by_user(manager: JobManager, name: str, before: Collection[str]) -> JobEnded | None:
    """How a user ended the new job of that name; None if no user did.

    Of several such jobs all must have been ended.

    Raises:
        ServiceUnavailable: the JobManager does not answer.
    """
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        found = [j for j in manager.request("jobs/overview")["jobs"] if j["name"] == name and j["jid"] not in before]
        if all(job["state"] in ENDED for job in found) or time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    if not found or any(job["state"] != "CANCELED" for job in found):
        return None
    latest = manager.request(f"jobs/{found[0]['jid']}/checkpoints")["latest"]
    savepoint, checkpoint = latest["savepoint"], latest["completed"]
    if savepoint and not (checkpoint and checkpoint["id"] > savepoint["id"]):
        return JobEnded(
            f"the job {name} was stopped with a savepoint; --go-on resumes from it: {savepoint['external_path']}", 0
        )
    return JobEnded(f"the job {name} was cancelled in the cluster. Units in the ledger are committed", CANCELLED)


def final_error(manager: JobManager, job: str) -> PrestaCopError | None:
    """The first error of this project, among those that a job was restarted for, that every restart will repeat.

    Flink keeps the last 16 errors. InputChanged is such an error, because the plan is a part of the job.

    Raises:
        ServiceUnavailable: the JobManager does not answer.
    """
    entries = manager.request(f"jobs/{job}/exceptions")["exceptionHistory"]["entries"]
    for entry in reversed(entries):  # the newest comes first
        for failure in (entry, *entry.get("concurrentExceptions", ())):
            error = raised_by_worker(failure["stacktrace"])
            if isinstance(error, (*FINAL, InputChanged)):
                return error
    return None


class FinalErrors:
    """Cancels the jobs of one name that fail with an error that every restart will repeat; Flink would restart them."""

    def __init__(self, manager: JobManager, name: str, before: Collection[str]) -> None:
        self.found: PrestaCopError | None = None
        """Why a job was cancelled; to be read once the job has ended."""
        self._manager, self._name, self._before = manager, name, before

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check once a second during the body."""

        def watch() -> None:
            # A JobManager that does not answer may restart; Beam reports it to the command.
            with suppress(ServiceUnavailable):
                self.check()

        with every(WATCH_SECONDS, watch):
            yield

    def check(self) -> None:
        """Check once. Raises ServiceUnavailable."""
        for job in self._manager.request("jobs/overview")["jobs"]:
            if job["name"] != self._name or job["jid"] in self._before or job["state"] in ENDED:
                continue
            if error := final_error(self._manager, job["jid"]):
                self.found = error  # before the job ends
                self._manager.request(f"jobs/{job['jid']}?mode=cancel", method="PATCH")


def newest_snapshot(manager: JobManager) -> str | None:
    """The newest complete checkpoint or savepoint, of any job."""
    complete = manager.snapshots.glob("**/_metadata")  # written last
    newest = max(complete, key=lambda path: path.stat().st_mtime_ns, default=None)
    return f"file:{newest.parent}" if newest else None


def snapshot_to_resume_from(services: Services) -> str:
    """The newest one. Raises ServiceUnavailable where none was kept."""
    snapshot = newest_snapshot(services.running(JobManager))
    if snapshot is None:
        raise ServiceUnavailable("there is no checkpoint or savepoint: submit without --go-on")
    return snapshot


def stop(manager: JobManager, job: str | None) -> str:
    """Stop a job, or the only one that runs, with a savepoint; gives the savepoint's path.

    The job is cancelled with the savepoint and not drained: Flink would wait for ever for the planner of a stream.
    Units that are not committed are read again.

    Raises:
        ServiceUnavailable: there is no such job, or the savepoint failed.
    """
    if job is None:
        found = running_ids(manager)
        if len(found) != 1:
            raise ServiceUnavailable(f"{len(found)} jobs run: choose one with --job ({', '.join(found) or 'none'})")
        job = found[0]
    deadline = time.monotonic() + SAVEPOINT_SECONDS
    _wait_until_all_run(manager, job, deadline)
    trigger = manager.request(f"jobs/{job}/savepoints", {"cancel-job": True})["request-id"]
    while time.monotonic() < deadline:
        answer: dict[str, Any] = manager.request(f"jobs/{job}/savepoints/{trigger}")
        if answer["status"]["id"] == "COMPLETED":
            return _location(job, answer["operation"])
        time.sleep(POLL_SECONDS)
    raise ServiceUnavailable(f"no savepoint of {job} in {SAVEPOINT_SECONDS} s; it still runs")


def _wait_until_all_run(manager: JobManager, job: str, deadline: float) -> None:
    """A savepoint needs all tasks; just after a restart some do not run yet."""
    while time.monotonic() < deadline:
        found = manager.request(f"jobs/{job}")
        if found["state"] == "RUNNING" and all(step["status"] == "RUNNING" for step in found["vertices"]):
            return
        time.sleep(POLL_SECONDS)
    raise ServiceUnavailable(f"{job} does not run, so it cannot have a savepoint ({found['state']})")


def _location(job: str, operation: dict[str, Any]) -> str:
    if "location" in operation:
        return str(operation["location"])
    causes = [line for line in operation["failure-cause"]["stack-trace"].splitlines() if line.startswith("Caused by:")]
    raise ServiceUnavailable(f"no savepoint of {job}, which still runs: {causes[-1] if causes else operation}")
