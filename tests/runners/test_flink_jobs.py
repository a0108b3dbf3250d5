"""What is said of the jobs of a Flink, whatever their state is."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.cluster import job_name
from runners.flink import jobs
from runners.flink.cluster import JobManager

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
        self._latest = {
            "savepoint": {"id": savepoint, "external_path": "file:/savepoint"} if savepoint else None,
            "completed": {"id": checkpoint} if checkpoint else None,
        }

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        if path == "overview":
            return {"flink-version": "1.19.3", "taskmanagers": 2, "slots-available": 1, "slots-total": 2}
        return {"jobs": self.found} if path == "jobs/overview" else {"latest": self._latest}


def test_no_two_words_are_printed_as_one(tmp_path: Path) -> None:
    lines = list(jobs.told(Answers(tmp_path, [job("1f", state) for state in STATES])))
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
    ended = jobs.ended(Answers(tmp_path, others + found, savepoint, checkpoint), "a-stream", {"before"})
    assert (ended and ended.exit_code) == code
    assert ended is None or "a-stream" in str(ended)
    assert (code == 0) == ("file:/savepoint" in str(ended))


def test_a_job_that_still_ends_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Answers(tmp_path, [job("new", "CANCELLING")])
    monkeypatch.setattr("time.sleep", lambda _: manager.found[0].update(state="CANCELED"))
    ended = jobs.ended(manager, "a-stream", ())
    assert ended is not None
    assert ended.exit_code == 130


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
