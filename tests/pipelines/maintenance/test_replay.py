"""Replay: dead letters that pass a fixed rule enter the lake exactly once, as if the rule had always been so."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import transforms.history.parse
import transforms.images
import transforms.messages.decode
from lake import lake
from lake.vacuum import vacuum
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.replay import replay
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph as run_all
from schemas import messages
from schemas.answers import new_key
from schemas.errors import InputUnusable
from schemas.history import Reason
from schemas.lake import LEDGER_ROW, STATS, Source
from tests.lakes import S3_NIGHTLY
from tests.support import LOCAL, content, make_history, make_messages, run_graph
from tests.transforms.messages.test_officer_answers import KEYS, answer, wire
from transforms.history.repair import Time
from transforms.messages.payload import Refusal

pytestmark = pytest.mark.embedded  # slow: many runs over many lakes


def strict_times(text: str | None) -> Time:
    """A rule that refuses afternoons, and then some."""
    time = transforms.history.repair.repair_time(text)
    return Time(-1, reason=Reason.TIME_UNREADABLE) if time.minutes >= 720 or time.repair else time


def strict_messages(found: Callable[[Any], dict[int, Refusal]]) -> Callable[[Any], dict[int, Refusal]]:
    """A rule that refuses every seventh message of a batch too."""

    def misfits(rows: Any) -> dict[int, Refusal]:
        more = {row: Refusal("field_invalid", "on a bad day") for row in range(0, rows.num_rows, 7)}
        return more | found(rows)

    return misfits


def seen(root: Path | str) -> dict[str, list[tuple[object, ...]]]:
    """All that readers see, with the counts of the ledger."""
    return content(root)


def test_a_mended_rule_of_the_history(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history(tmp_path / "h.csv", 3_000, "--dirt", "20")
    run_graph(tmp_path / "right", history)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history.parse, "repair_time", strict_times)
        run_graph(root, history)
    assert seen(root) != seen(tmp_path / "right")
    assert replay(root, Reason.TIME_UNREADABLE, LOCAL)
    assert seen(root) == seen(tmp_path / "right")
    assert reconcile(root) == []
    changes = lake(root).changes.num_rows
    assert replay(root, Reason.TIME_UNREADABLE, LOCAL) is None
    assert lake(root).changes.num_rows == changes


@S3_NIGHTLY
def test_a_mended_rule_of_messages_between_compactions(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirt = ("--corrupt", "0.05", "--duplicates", "0.1")
    first, second = (make_messages(tmp_path / f"{n}.jsonl", 10, 60, "--seed", str(n), *dirt) for n in (1, 2))
    again = tmp_path / "again.jsonl"  # all messages of the first but one, in a unit of its own
    again.write_bytes(first.read_bytes().partition(b"\n")[2])
    recordings = (again, first, second)
    for recording in recordings:
        run_graph(tmp_path / "right", messages=recording)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.messages.decode, "_misfits", strict_messages(transforms.messages.decode._misfits))
        for recording in recordings:
            run_graph(root, messages=recording)
    assert compact(root, 1 << 20, LOCAL)
    assert replay(root, "field_invalid", LOCAL)
    for _ in range(2):
        after, right = seen(root), seen(tmp_path / "right")
        assert ids(after) == ids(right)
        assert after["dead_letters"] == right["dead_letters"]
        assert total(after) == total(right)
        assert reconcile(root) == []
        compact(root, 1 << 20, LOCAL)
        vacuum(root, timedelta(0))
    assert lake(root).sql("FROM duplicates").num_rows == 0


def ids(found: dict[str, list[tuple[object, ...]]]) -> dict[str, list[str]]:
    """The messages by dataset: which of two copies is shown depends on which was refused at first."""
    return {view: sorted(str(row[3:]) for row in found[view]) for view in ("positions", "qualified", "unqualified")}


def total(found: dict[str, list[tuple[object, ...]]]) -> int:
    """What the statistics count."""
    return sum(int(str(row[STATS.names.index("n")])) for row in found["stats"])


def test_a_mended_rule_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "i.jsonl"
    make_messages(tmp_path / "m.jsonl", 10, 60, "--images", f"file:{images}")
    asked = ReadOptions(None, None, str(images))
    run_all(asked, Settings(str(tmp_path / "right"), 3600), LOCAL)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.images, "read_picture", lambda payload: Refusal("image_not_jpeg"))
        run_all(asked, Settings(str(tmp_path / "lake"), 3600), LOCAL)
    root = str(tmp_path / "lake")
    assert lake(root).sql("FROM images").num_rows == 0
    assert replay(root, "image_not_jpeg", LOCAL)
    query = "FROM images ORDER BY ALL"
    assert lake(root).sql(query).to_pylist() == lake(str(tmp_path / "right")).sql(query).to_pylist()
    assert lake(root).sql("FROM dead_letters").num_rows == 0
    assert reconcile(root) == []


def test_what_another_rule_refuses_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history(tmp_path / "h.csv", 3_000, "--dirt", "20")
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history.parse, "repair_time", lambda text: Time(-1, reason=Reason.TIME_MISSING))
        run_graph(tmp_path / "lake", history)
    run_graph(tmp_path / "right", history)
    root = str(tmp_path / "lake")
    assert replay(root, Reason.TIME_MISSING, LOCAL)
    query = "SELECT unit, record, reason, payload FROM dead_letters ORDER BY ALL"
    assert lake(root).sql(query).to_pylist() == lake(str(tmp_path / "right")).sql(query).to_pylist()


def test_a_unit_of_an_earlier_version_asks_its_file_for_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(tmp_path / "h.csv", 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history.parse, "repair_time", strict_times)
        run_graph(tmp_path / "lake", history)
    (path,) = (tmp_path / "lake" / "ledger" / f"source={Source.HISTORY}").iterdir()
    old = pq.ParquetFile(path).read().drop_columns(LEDGER_ROW.names[LEDGER_ROW.names.index("columns") :])
    pq.write_table(old, path)
    history.rename(tmp_path / "elsewhere.csv")
    with pytest.raises(InputUnusable, match="restore the file") as error:
        replay(str(tmp_path / "lake"), Reason.TIME_UNREADABLE, LOCAL)
    assert str(history) in str(error.value)
    (tmp_path / "elsewhere.csv").rename(history)
    assert replay(str(tmp_path / "lake"), Reason.TIME_UNREADABLE, LOCAL)


def test_the_command_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history(tmp_path / "h.csv", 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history.parse, "repair_time", strict_times)
        run_graph(tmp_path / "lake", history)

    def command(reason: str) -> subprocess.CompletedProcess[str]:
        line = [
            sys.executable,
            "-m",
            "prestacop",
            "replay",
            "--lake",
            str(tmp_path / "lake"),
            "--quiet",
            "--reason",
            reason,
        ]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    done = command(Reason.TIME_UNREADABLE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "→ qualified" in done.stdout
    assert "nothing" in command(Reason.TIME_UNREADABLE).stdout
    unknown = command("a_typing_error")
    assert unknown.returncode == 2
    assert Reason.TIME_UNREADABLE in unknown.stderr


def test_answers_that_came_before_their_key_are_taken_when_it_is_known(tmp_path: Path) -> None:
    root, recording = str(tmp_path / "lake"), tmp_path / "answers.jsonl"
    recording.write_bytes(wire(answer()) + b"\n" + wire(answer(key=new_key(), lease="forged")) + b"\n")
    run_graph(root, messages=recording)
    assert replay(root, messages.Reason.ANSWER_UNSIGNED, LOCAL) is None
    assert replay(root, messages.Reason.ANSWER_UNSIGNED, LOCAL, KEYS)
    assert lake(root).sql("SELECT status, officer_id FROM qualified").num_rows == 1
    assert lake(root).sql("FROM dead_letters").num_rows == 1
    assert reconcile(root) == []
