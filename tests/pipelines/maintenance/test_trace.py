"""Trace reports what the lake and the input hold."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

import transforms.history.parse
from lake import lake
from lake.ledger import commit
from lake.vacuum import vacuum
from pipelines.maintenance.compact import compact
from pipelines.maintenance.replay import replay
from pipelines.maintenance.trace import trace
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph as run
from schemas.answers import answer_to, new_key, public_key, sign
from schemas.history import Reason
from tests.lakes import Said, write
from tests.schemas.test_answers import alert
from tests.support import LOCAL, make_history, make_messages, run_graph
from tests.transforms.messages.test_decode import message
from transforms.history.repair import Time


def told(root: Path, wanted: object) -> str:
    """The story."""
    return "\n".join(trace(lake(str(root)), str(wanted)))


@pytest.mark.embedded
def test_a_summons_that_was_repaired_and_a_message_that_was_refused(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 3_000, "--dirt", "20")
    messages = make_messages(tmp_path / "m.jsonl", 10, 60, "--corrupt", "0.05")
    root = tmp_path / "lake"
    run_graph(root, history, messages)
    for _ in range(2):
        row = lake(str(root)).sql("FROM qualified WHERE len(repairs) > 0 AND record > 9 LIMIT 1").to_pylist()[0]
        story = told(root, row["summons_number"])
        assert story.startswith(f"qualified · {row['unit']}/{row['record']}")
        for part in (str(history), f"record {row['record']:,} of 3,000", *row["repairs"], row["violation_time_text"]):
            assert part in story
        assert sum(line.startswith("  file") for line in story.splitlines()) == 1
        letter = lake(str(root)).sql("FROM dead_letters WHERE reason = 'field_missing'").to_pylist()[0]
        story = told(root, json.loads(letter["payload"])["message_id"])
        assert "field_missing" in story
        assert f"at {letter['offset']:,} of {messages}" in story
        assert story in told(root, f"{letter['unit']}/{letter['record']}")
        compact(str(root), 1 << 20, LOCAL)
        vacuum(str(root), timedelta(0))


def test_a_message_in_two_units_before_and_after_compaction(tmp_path: Path) -> None:
    root = str(tmp_path)
    for unit in ("a", "b"):
        commit(root, [write(root, unit, [Said("x"), Said(f"only-{unit}")])])
    story = told(tmp_path, "x")
    assert story.count("qualified · ") == 2
    assert story.count("not shown to readers") == 1
    compact(root, 1 << 20, LOCAL)
    story = told(tmp_path, "x")
    assert story.count("qualified · ") == 1
    assert "by compaction" in story


def test_a_row_in_one_of_several_parts_of_a_merged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.merge.MAX_BYTES", 1)
    root = str(tmp_path)
    for unit in ("a", "b"):
        commit(root, [write(root, unit, [Said(unit)])])
    compact(root, 1 << 20, LOCAL)
    for unit in ("a", "b"):
        (line,) = [line for line in told(tmp_path, unit).splitlines() if line.startswith("  file ")]
        assert ".part-0000" in line
        assert "by compaction" in line


@pytest.mark.embedded
def test_a_replayed_summons_says_that_it_came_from_the_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(tmp_path / "h.csv", 500)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history.parse, "repair_time", lambda text: Time(-1, reason=Reason.TIME_UNREADABLE))
        run_graph(tmp_path / "lake", history)
    number = history.read_text().splitlines()[3].partition(",")[0]
    assert told(tmp_path / "lake", number).startswith("dead_letters · ")
    replay(str(tmp_path / "lake"), Reason.TIME_UNREADABLE, LOCAL)
    story = told(tmp_path / "lake", number)
    assert story.startswith("qualified · ")
    assert "replay of time_unreadable" in story


@pytest.mark.embedded
def test_a_trace_shows_the_answers_of_an_alert_and_the_alert_of_an_answer(tmp_path: Path) -> None:
    key = new_key()
    asked = {"message_id": "question", "drone_id": "d1", "plate_id": "ABC123", "violation_code": 0}

    def answer(lease: str, code: int, second: int) -> bytes:
        at = f"2026-01-15T13:00:0{second}.000000Z"
        said = answer_to(alert(**asked), lease=lease, officer_id=f"officer-{lease}", violation_code=code, event_time=at)
        return msgspec.json.encode(sign(said, key))

    first, second = answer("a", 40, 1), answer("b", 0, 2)
    root = str(tmp_path / "lake")
    for name, payloads in {"m1.jsonl": [message(**asked)], "m2.jsonl": [first, second], "m3.jsonl": [first]}.items():
        (tmp_path / name).write_bytes(b"\n".join(payloads) + b"\n")
        run(ReadOptions(None, str(tmp_path / name)), Settings(root, 3600, officer_keys=(public_key(key),)), LOCAL)

    ids = [msgspec.json.decode(payload)["message_id"] for payload in (first, second)]
    lines = told(tmp_path / "lake", "question").splitlines()
    assert lines[0].startswith("unqualified · ")
    assert any("m1.jsonl, record 0 of 1" in line for line in lines)
    assert "  branch     unqualified: a police officer must look at it" in lines
    assert lines[-4:] == [
        "answered · 40 · Fire hydrant",
        f"  officer    officer-a, 2026-01-15 13:00:01 UTC, in message {ids[0]}",
        "answered again (not counted) · no violation",
        f"  officer    officer-b, 2026-01-15 13:00:02 UTC, in message {ids[1]}",
    ]
    story = told(tmp_path / "lake", ids[0])
    assert story.count("  branch     qualified: 40 · Fire hydrant\n  answers    question, by officer-a\n") == 2
    assert story.count("not shown to readers") == 1
    story = told(tmp_path / "lake", ids[1])
    assert "  branch     qualified: no violation\n  answers    question, by officer-b\n" in story
    assert f"{tmp_path}/m2.jsonl, record 1 of 2" in story


@pytest.mark.embedded
@pytest.mark.parametrize("wanted", ["nobody", b"no\xffbody"])
def test_what_is_not_there_ends_with_3(tmp_path: Path, wanted: str | bytes) -> None:
    commit(str(tmp_path), [write(str(tmp_path), "a", [Said("x")])])
    line: list[str | bytes] = [sys.executable, "-m", "prestacop", "trace", "--lake", str(tmp_path), wanted]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")  # 1 is for rows that do not add up
    assert "body is not in" in done.stdout
