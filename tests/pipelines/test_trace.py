"""What is told of a message is what the lake and its input say."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import transforms.history
from lake import lake
from lake.changes import vacuum
from lake.ledger import commit
from pipelines.compact import compact
from pipelines.replay import replay
from pipelines.trace import trace
from schemas.history import Reason
from tests.lakes import Said, write
from tests.support import LOCAL, make_history, make_messages, run_graph
from transforms.repair import Time


def told(root: Path, wanted: object) -> str:
    """The story."""
    return "\n".join(trace(lake(str(root)), str(wanted)))


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


def test_a_replayed_summons_says_that_it_came_from_the_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(tmp_path / "h.csv", 500)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history, "repair_time", lambda text: Time(-1, reason=Reason.TIME_UNREADABLE))
        run_graph(tmp_path / "lake", history)
    number = history.read_text().splitlines()[3].partition(",")[0]
    assert told(tmp_path / "lake", number).startswith("dead_letters · ")
    replay(str(tmp_path / "lake"), Reason.TIME_UNREADABLE, LOCAL)
    story = told(tmp_path / "lake", number)
    assert story.startswith("qualified · ")
    assert "replay of time_unreadable" in story


def test_what_is_not_there_ends_with_1(tmp_path: Path) -> None:
    commit(str(tmp_path), [write(str(tmp_path), "a", [Said("x")])])
    line = [sys.executable, "-m", "pipelines.trace", "--lake", str(tmp_path), "nobody"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "nobody is not in" in done.stdout
