"""The jobs of a Flink cluster, by its REST interface."""

import time
from collections.abc import Iterator
from typing import Any

from runners.flink.cluster import JobManager
from schemas.errors import ServiceUnavailable

SAVEPOINT_SECONDS = 120


def told(manager: JobManager) -> Iterator[str]:
    """The jobs and slots, for people."""
    overview = manager.ask("overview")
    yield (
        f"\nhttp://{manager.address}  Flink {overview['flink-version']}: {overview['taskmanagers']} TaskManagers, "
        f"{overview['slots-available']} of {overview['slots-total']} slots free"
    )
    for job in manager.ask("jobs/overview")["jobs"]:
        done = latest_checkpoint(manager, job["jid"])
        checkpoint = f"  last checkpoint {done}" if done else ""
        yield f"  {job['state']:10}{job['jid']}  {job['duration'] / 1000:,.0f} s  {job['name']}{checkpoint}"


def running(manager: JobManager) -> list[str]:
    """The ids of the jobs that run or will run again."""
    ended = {"FINISHED", "CANCELED", "FAILED"}
    return [job["jid"] for job in manager.ask("jobs/overview")["jobs"] if job["state"] not in ended]


def latest_checkpoint(manager: JobManager, job: str) -> str | None:
    """Where the last one is that was completed."""
    latest = manager.ask(f"jobs/{job}/checkpoints").get("latest", {}).get("completed")
    return latest["external_path"] if latest else None


def stop(manager: JobManager, job: str | None) -> str:
    """End a job, or the only one that runs, with a savepoint; gives the savepoint's path.

    It is cancelled with the savepoint, not drained: a stream's planner comes back every second, and Flink would wait
    for it to have nothing more to do. What was begun and is not committed is read again.

    Raises:
        ServiceUnavailable: there is no such job, or the savepoint failed.
    """
    if job is None:
        found = running(manager)
        if len(found) != 1:
            raise ServiceUnavailable(f"{len(found)} jobs run: say which with --job ({', '.join(found) or 'none'})")
        job = found[0]
    trigger = manager.ask(f"jobs/{job}/savepoints", {"cancel-job": True})["request-id"]
    deadline = time.monotonic() + SAVEPOINT_SECONDS
    while time.monotonic() < deadline:
        answer: dict[str, Any] = manager.ask(f"jobs/{job}/savepoints/{trigger}")
        if answer["status"]["id"] == "COMPLETED":
            operation = answer["operation"]
            if "location" not in operation:
                raise ServiceUnavailable(f"no savepoint of {job}: {operation['failure-cause']['class']}")
            return str(operation["location"])
        time.sleep(0.2)
    raise ServiceUnavailable(f"no savepoint of {job} in {SAVEPOINT_SECONDS} s; it still runs")
