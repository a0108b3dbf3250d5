"""A message_id proves nothing: who claims one that is taken neither hides nor deletes what had it before."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from apps.trace import trace
from lake import lake
from lake.changes import vacuum
from lake.ledger import commit
from pipelines.analysis import answers
from pipelines.compact import compact
from pipelines.inputs import Asked
from pipelines.printed import lines
from pipelines.reconcile import reconcile
from pipelines.run import run_graph as run
from pipelines.summary import summary
from pipelines.violations import Settings
from schemas.answers import answer_to, new_key, public_key, sign
from tests.lakes import Said, compacted, ids, write
from tests.schemas.test_answers import alert
from tests.support import LOCAL
from tests.transforms.test_messages import message

AT = 1_420_000_000
REAL = Said("v", AT, 21, published=AT, drone="honest")
SIGNED = Said("a", AT, 38, answers="v", published=AT + 9)
ATTACKS: dict[str, tuple[dict[str, list[Said]], str, int, int]] = {
    "a lower unit": ({"b": [REAL], "a": [REAL._replace(drone="x", published=AT + 1)]}, "b/0", 0, 1),
    "an earlier record": ({"a": [REAL._replace(drone="x", published=AT + 1), REAL]}, "a/1", 0, 1),
    "a position": ({"b": [REAL], "a": [REAL._replace(code=None, published=AT + 1)]}, "b/0", 0, 1),
    "without a code": ({"b": [REAL], "a": [REAL._replace(code=0, published=AT + 1)]}, "b/0", 0, 1),
    "another month": ({"b": [REAL], "a": [REAL._replace(second=AT + 9_000_000, published=AT + 1)]}, "b/0", 0, 1),
    "of a signed answer": ({"a": [SIGNED._replace(answers=None, published=0)], "b": [SIGNED]}, "b/0", 0, 1),
    "of a signed answer, as a position": (
        {"a": [SIGNED._replace(answers=None, code=None, published=0)], "b": [SIGNED]}, "b/0", 0, 1,
    ),
    "a signed answer again": ({"a": [SIGNED._replace(published=AT + 99)], "b": [SIGNED]}, "b/0", 1, 0),
    "the same again": ({"a": [REAL._replace(published=AT + 1)], "b": [REAL]}, "b/0", 1, 0),
    "three": (
        {"a": [REAL._replace(drone="x", published=AT + 2)], "b": [REAL._replace(code=None, published=AT + 1)],
         "c": [REAL]}, "c/0", 0, 2,
    ),
    "conflicts and copies": (
        {"a": [REAL._replace(drone="x", published=AT + 1), REAL._replace(drone="x", published=AT + 3)],
         "b": [REAL._replace(published=AT + 2), REAL, REAL._replace(drone="x", published=AT + 1)]}, "b/1", 3, 1,
    ),
    "in a recording": ({"a": [REAL._replace(drone="x", published=None)], "b": [REAL]}, "b/0", 0, 1),
    "both in recordings": (
        {"a": [REAL._replace(published=None)], "b": [REAL._replace(drone="x", published=None)]}, "a/0", 0, 1,
    ),
}  # fmt: skip
"""What the units hold, the place of what counts, and how many copies and conflicts there are."""


def places(connection: duckdb.DuckDBPyConnection, view: str, of: str = "unit, record") -> list[str]:
    """Of the rows that have one of the two ids."""
    query = f"SELECT DISTINCT concat_ws('/', {of}) AS place FROM {view} WHERE message_id IN ('v', 'a') ORDER BY place"
    return [place for (place,) in connection.sql(query).fetchall()]


@pytest.mark.parametrize("name", ATTACKS)
def test_what_counts_goes_on_counting_and_nothing_else_is_deleted(tmp_path: Path, name: str) -> None:
    units, counts, copies, conflicts = ATTACKS[name]
    root = str(tmp_path)
    commit(root, [write(root, unit, [*messages, Said(f"other {unit}")]) for unit, messages in units.items()])
    everything = sum(map(len, units.values()))
    for step in ("before", "compacted"):
        lk = lake(root)
        with lk.connect() as connection:
            shown = [place for view in ("positions", "qualified", "unqualified") for place in places(connection, view)]
            claims, hidden = places(connection, "conflicts"), places(connection, "duplicates")
            winners = places(connection, "conflicts", "counts_unit, counts_record")
            (counted,) = connection.sql("SELECT sum(n)::INT FROM stats").fetchall()
        assert shown == [counts], step
        assert len(claims) == conflicts, step
        assert len(hidden) == (copies if step == "before" else 0)
        assert not {counts, *claims} & set(hidden)
        assert winners == [counts] * bool(conflicts)
        assert counted == (1 + len(units),)
        kept = sum(lk.ledger[what].to_numpy().sum() for what in ("positions", "qualified", "unqualified"))
        assert kept == everything + len(units) - (0 if step == "before" else copies)
        assert reconcile(root) == []
        if step == "before":
            compacted(root)
            vacuum(root, timedelta(0))


def load(root: str, folder: Path, name: str, payloads: Sequence[bytes], key: Any) -> None:
    """Run the graph over a recording of these messages."""
    (folder / name).write_bytes(b"\n".join(payloads) + b"\n")
    run(Asked(None, str(folder / name)), Settings(root, 3600, officer_keys=(public_key(key),)), LOCAL)


def test_no_drone_makes_a_signed_answer_vanish(tmp_path: Path) -> None:
    root, key = str(tmp_path / "lake"), new_key()
    asked = {"message_id": "v", "drone_id": "d1", "plate_id": "ABC123", "violation_code": 0}
    said = answer_to(
        alert(**asked), lease="l", officer_id="kelly", violation_code=40, event_time="2026-01-15T13:00:01.000000Z"
    )
    answered = msgspec.json.encode(sign(said, key))
    forged = json.loads(answered) | {
        "status": "raw",
        "violation_code": 1,
        "answers": None,
        "officer_id": None,
        "signature": None,
    }
    stolen = message(**forged)
    load(root, tmp_path, "1.jsonl", [stolen, message(**asked)], key)  # even within the answer's own unit
    load(root, tmp_path, "2.jsonl", [stolen, answered, answered, stolen], key)
    for step in ("before", "after"):
        lk = lake(root)
        alerts = lk.sql("SELECT message_id, answered, answered_code, officer_id FROM alerts").to_pylist()
        assert [tuple(row.values()) for row in alerts] == [("v", True, 40, "kelly")], step
        assert len(ids(lk, "conflicts")) == 1
        story = "\n".join(trace(lk, said.message_id))
        assert story.count("not shown to readers: it claims the message_id of") == 1
        assert "this message counts; others claim its message_id with other content" in story
        assert "1 rows claim 1 message_ids of other messages" in "\n".join(summary(root, set(), 1.0))
        found = answers(root, LOCAL)
        assert found.officers.answered == 1
        assert any("1 rows claim the message_id of another message" in line for line in lines(found))
        compact(root, 1 << 20, LOCAL)
        vacuum(root, timedelta(0))
    line = [sys.executable, "-m", "pipelines.reconcile", "--output", root, "--quiet"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "1 rows claim 1 message_ids of other messages" in done.stdout


def test_a_row_of_an_earlier_version_that_says_it_answers_is_no_answer(tmp_path: Path) -> None:
    root = str(tmp_path)
    row = write(root, "old", [Said("v", code=0), Said("forged", answers="v")], officers=False)
    commit(root, [row])
    lk = lake(root)
    assert lk.sql("FROM qualified").to_pylist()[0]["answers"] == "v"
    assert lk.sql("FROM answers").num_rows == 0
    assert lk.sql("SELECT answered FROM alerts").to_pylist() == [{"answered": False}]
    assert not any("answers " in line for line in trace(lk, "forged"))
