"""Content is identity: a message with a message_id that is taken neither hides nor deletes another one."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from lake import lake
from lake.files import in_ledger, write_unit
from lake.ledger import commit
from lake.news import Mark
from lake.publication import publish
from lake.vacuum import vacuum
from pipelines.analysis.command import answers
from pipelines.analysis.text_report import lines
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.trace import trace
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph as run
from pipelines.violations.summary import summary
from schemas.answers import answer_to, new_key, public_key, sign
from schemas.lake import BRANCHES, Dataset, Source
from sources.payloads import payload_batch
from sources.units import Unit, UnitBatch
from tests.lakes import Said, compacted, ids, write
from tests.schemas.test_answers import alert
from tests.support import LOCAL
from tests.transforms.messages.test_decode import message
from transforms.messages.decode import decode_payloads
from transforms.messages.dedupe import _DropDuplicates
from transforms.messages.rows import without_repeated
from transforms.qualify import split
from transforms.stats import WindowCounter

AT = 1_420_000_000
REAL = Said("v", AT, 21, published=AT, drone="honest")
SIGNED = Said("a", AT, 38, answers="v", published=AT + 9)
ATTACKS: dict[str, tuple[dict[str, list[Said]], list[str], int]] = {
    "a lower unit": ({"b": [REAL], "a": [REAL._replace(drone="x", published=AT + 1)]}, ["a/0", "b/0"], 0),
    "an earlier record": ({"a": [REAL._replace(drone="x", published=AT + 1), REAL]}, ["a/0", "a/1"], 0),
    "a position": ({"b": [REAL], "a": [REAL._replace(code=None, published=AT + 1)]}, ["a/0", "b/0"], 0),
    "without a code": ({"b": [REAL], "a": [REAL._replace(code=0, published=AT + 1)]}, ["a/0", "b/0"], 0),
    "another month": ({"b": [REAL], "a": [REAL._replace(second=AT + 9_000_000, published=AT + 1)]}, ["a/0", "b/0"], 0),
    "of a signed answer": ({"a": [SIGNED._replace(answers=None, published=0)], "b": [SIGNED]}, ["a/0", "b/0"], 0),
    "of a signed answer, as a position": (
        {"a": [SIGNED._replace(answers=None, code=None, published=0)], "b": [SIGNED]}, ["a/0", "b/0"], 0,
    ),
    "a signed answer again": ({"a": [SIGNED._replace(published=AT + 99)], "b": [SIGNED]}, ["b/0"], 1),
    "the same again": ({"a": [REAL._replace(published=AT + 1)], "b": [REAL]}, ["b/0"], 1),
    "three": (
        {"a": [REAL._replace(drone="x", published=AT + 2)], "b": [REAL._replace(code=None, published=AT + 1)],
         "c": [REAL]}, ["a/0", "b/0", "c/0"], 0,
    ),
    "conflicts and copies": (
        {"a": [REAL._replace(drone="x", published=AT + 1), REAL._replace(drone="x", published=AT + 3)],
         "b": [REAL._replace(published=AT + 2), REAL, REAL._replace(drone="x", published=AT + 1)]},
        ["a/0", "b/1"], 3,
    ),
    "in a recording": ({"a": [REAL._replace(drone="x", published=None)], "b": [REAL]}, ["a/0", "b/0"], 0),
    "both in recordings": (
        {"a": [REAL._replace(published=None)], "b": [REAL._replace(drone="x", published=None)]}, ["a/0", "b/0"], 0,
    ),
}  # fmt: skip
"""What the units hold, the places of the messages that are shown and counted, and how many copies there are."""


def places(connection: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    """Of the rows that have an id of the cases."""
    query = f"SELECT concat_ws('/', unit, record) AS place FROM {view} WHERE message_id[1] IN ('v', 'a') ORDER BY place"
    return [place for (place,) in connection.sql(query).fetchall()]


@pytest.mark.embedded
def test_a_message_id_that_is_sent_again_neither_hides_nor_deletes_a_message(tmp_path: Path) -> None:
    """All cases in one lake, each with ids of its own; the names of its units begin with its number."""
    root = str(tmp_path)
    messages, rows, expected_conflicts, copies = list[str](), list[dict[str, Any]](), list[str](), dict[str, int]()
    for number, (name, (units, shown_places, of_case)) in enumerate(ATTACKS.items()):
        assert sum(map(len, units.values())) == len(shown_places) + of_case
        for unit, sent in units.items():
            said = [m._replace(id=f"{m.id} {name}") for m in sent]
            rows.append(write(root, f"{number:02d}{unit}", [*said, Said(f"other {unit} {name}")]))
        messages += (shown_here := [f"{number:02d}{place}" for place in shown_places])
        expected_conflicts += shown_here if len(shown_here) > 1 else []
        copies |= {f"{number:02d}": of_case} if of_case else {}
    commit(root, rows)
    for step in ("before", "published", "compacted"):
        if step == "published":
            publish(root)
        elif step == "compacted":
            compacted(root)
            vacuum(root, timedelta(0))
        lk = lake(root)
        with lk.connect() as connection:
            shown = [place for view in BRANCHES for place in places(connection, str(view))]
            conflicting, hidden = places(connection, "conflicts"), places(connection, "duplicates")
            (counted,) = connection.sql("SELECT sum(n)::INT FROM stats").fetchall()
        assert sorted(shown) == messages, step
        assert conflicting == expected_conflicts, step
        assert Counter(place[:2] for place in hidden) == (copies if step == "before" else {}), step
        assert not set(shown) & set(hidden)
        assert counted == (len(messages) + len(rows),)
        kept = sum(lk.ledger[str(branch)].to_numpy().sum() for branch in BRANCHES)
        assert kept == len(messages) + len(rows) + (sum(copies.values()) if step == "before" else 0)
        assert reconcile(root) == []


POSITION: dict[str, Any] = {"kind": "position", "violation_code": None, "plate_id": None, "image_id": None}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "the same": ({}, {}, True),
    "another picture": ({}, {"image_id": "j"}, False),
    "no picture": ({}, {"image_id": None}, False),
    "an empty plate": ({"plate_id": None}, {"plate_id": ""}, False),
    "a position": ({}, POSITION, False),
    "the same position": (POSITION, POSITION, True),
    "a position with a picture": (POSITION, POSITION | {"image_id": "i"}, False),
    "a position with another picture": (POSITION | {"image_id": "i"}, POSITION | {"image_id": "j"}, False),
    "a position with a plate": (POSITION, POSITION | {"plate_id": "A"}, False),
    "a position with an empty plate": (POSITION, POSITION | {"plate_id": ""}, False),
    "the same plate on a position": (POSITION | {"plate_id": "A"}, POSITION | {"plate_id": "A"}, True),
    "zero below zero": ({"latitude": 0.0, "battery_pct": -0.0}, {"latitude": -0.0, "battery_pct": 0}, True),
    "a whole number": ({"altitude_m": 30}, {"altitude_m": 30.0}, True),
    "a seventh digit": ({"event_time": "2026-01-15T12:00:00.5000001Z"}, {}, True),
    "another offset": ({"event_time": "2026-01-15T07:00:00.5-05:00"}, {}, True),
    "another order": ({"x": 1, "y": 2}, {"y": 2, "x": 1}, True),
    "a new field": ({}, {"x": None}, False),
    "a field of another value": ({"x": 1}, {"x": 1.0}, False),
    "another sequence": ({}, {"sequence": 8}, False),
    "without a code": ({}, {"violation_code": 0}, False),
}
"""What two messages of one id say, and whether the second is a copy."""


def landed(root: str, name: str, messages: Sequence[bytes]) -> int:
    """Land a unit as the graph does, without a runner; how many of its messages live statistics count."""
    unit, n = Unit(Source.DRONES, "fleet.jsonl", 0, 1, name), len(messages)
    parsed = decode_payloads(unit, payload_batch(messages, range(n), range(n)))
    assert parsed.dead_letters.num_rows == 0
    drop, counter = _DropDuplicates(), WindowCounter(3600)
    drop.start_bundle()
    fresh, tally = drop.process(UnitBatch(unit, parsed.rows, last=True))
    counter.add(fresh.rows)
    parts = {**split(fresh.rows), Dataset.STATS: counter.counts(name)}
    files = [file for dataset, part in parts.items() for file in write_unit(root, dataset, Source.DRONES, name, [part])]
    counts = {str(d): parts[d].num_rows for d in BRANCHES} | {"duplicates": tally.value[1].rows}
    place = {"unit": name, "source": "drones", "path": "fleet.jsonl", "range_start": 0, "range_end": 1}
    rest = {"rows_in": n, "dead_letters": 0, "images": 0, "counted": fresh.rows.num_rows, **in_ledger(files)}
    commit(root, [place | counts | rest])
    return int(without_repeated(fresh.rows).num_rows)


@pytest.mark.embedded
def test_what_is_a_copy_is_one_within_a_unit_across_units_and_after_a_publication(tmp_path: Path) -> None:
    pairs = {name: [message(message_id=name, **fields) for fields in both] for name, (*both, _) in PAIRS.items()}
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    live = landed(one, "a", [line for pair in pairs.values() for line in pair])
    for unit, place in (("a", 0), ("b", 1)):
        landed(two, unit, [pair[place] for pair in pairs.values()])
    conflicts = sorted(name for name, (*_, is_copy) in PAIRS.items() if not is_copy)
    assert live == len(PAIRS)
    for step in ("before", "compacted"):
        shown = []
        for root in (one, two):
            lk = lake(root)
            with lk.connect() as connection:
                conflicting = connection.sql("SELECT message_id FROM conflicts ORDER BY ALL").fetchall()
                copies = connection.sql("FROM duplicates").fetchall()
                counted = connection.sql("SELECT sum(n)::INT FROM stats").fetchall()
                views = [f"SELECT * EXCLUDE (unit, record) FROM {view} ORDER BY ALL" for view in BRANCHES]
                shown.append([connection.sql(view).fetchall() for view in views])
            assert [name for (name,) in conflicting] == sorted(2 * conflicts), (root, step)
            kept = lk.ledger["duplicates"].to_numpy().sum() + len(copies)
            assert kept == len(PAIRS) - len(conflicts), (root, step)
            assert root == two or not copies, step  # a unit drops its own
            assert counted == [(len(PAIRS) + len(conflicts),)]
            if step == "before":
                compacted(root)
            else:
                assert not copies
                assert reconcile(root) == []
        assert shown[0] == shown[1], step


def load(root: str, folder: Path, name: str, payloads: Sequence[bytes], key: Any) -> None:
    """Run the graph over a recording of these messages."""
    (folder / name).write_bytes(b"\n".join(payloads) + b"\n")
    run(ReadOptions(None, str(folder / name)), Settings(root, 3600, officer_keys=(public_key(key),)), LOCAL)


@pytest.mark.embedded
def test_no_drone_makes_a_signed_answer_vanish(tmp_path: Path) -> None:
    root, key = str(tmp_path / "lake"), new_key()
    unqualified = {"message_id": "v", "drone_id": "d1", "plate_id": "ABC123", "violation_code": 0}
    officer_answer = answer_to(
        alert(**unqualified), lease="l", officer_id="kelly", violation_code=40, event_time="2026-01-15T13:00:01.000000Z"
    )
    answered = msgspec.json.encode(sign(officer_answer, key))
    forged = json.loads(answered) | {
        "status": "raw",
        "violation_code": 1,
        "answers": None,
        "officer_id": None,
        "signature": None,
    }
    stolen = message(**forged)
    load(root, tmp_path, "1.jsonl", [stolen, message(**unqualified)], key)  # even within the answer's own unit
    load(root, tmp_path, "2.jsonl", [stolen, answered, answered, stolen], key)
    for step in ("before", "after"):
        lk = lake(root)
        alerts = lk.sql("SELECT message_id, answered, answered_code, officer_id FROM alerts").to_pylist()
        assert [tuple(row.values()) for row in alerts] == [("v", True, 40, "kelly")], step
        assert ids(lk, "conflicts") == [officer_answer.message_id] * 2
        story = "\n".join(trace(lk, officer_answer.message_id))
        assert story.count("other messages have its message_id and other content") == 2
        assert "2 messages share 1 message_ids with other content" in "\n".join(summary(root, Mark(), 1.0))
        found = answers(root, LOCAL)
        assert found.officers.answered == 1
        assert any("2 messages share a message_id with other content" in line for line in lines(found))
        compact(root, 1 << 20, LOCAL)
        vacuum(root, timedelta(0))
    line = [sys.executable, "-m", "prestacop", "reconcile", "--lake", root, "--quiet"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "2 messages share 1 message_ids with other content" in done.stdout


def test_a_row_of_an_earlier_version_that_says_it_answers_is_no_answer(tmp_path: Path) -> None:
    root = str(tmp_path)
    row = write(root, "old", [Said("v", code=0), Said("forged", answers="v")], officers=False)
    commit(root, [row])
    lk = lake(root)
    assert lk.sql("FROM qualified").to_pylist()[0]["answers"] == "v"
    assert lk.sql("FROM answers").num_rows == 0
    assert lk.sql("SELECT answered FROM alerts").to_pylist() == [{"answered": False}]
    assert not any("answers " in line for line in trace(lk, "forged"))
