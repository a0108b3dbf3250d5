"""The graph through its real entry: what comes in is in the lake, once, as the truth says."""

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lake import lake
from lake.ledger import is_committed
from pipelines.reconcile import reconcile
from schemas.lake import Source
from tests.support import SHARED, content, make_history, make_messages, run_graph, truth_differs

FLEET = ("--seed", "3", "--duplicates", "0.05", "--corrupt", "0.02", "--v0-share", "0.3", "--disorder", "5")


@pytest.mark.parametrize(
    "flags",
    [
        ("--columns", "51"),
        ("--columns", "43", "--crlf", "--bom"),
        ("--columns", "34", "--no-final-newline"),
        ("--columns", "51", "--crlf", "--no-final-newline", "--bom"),
    ],
    ids=" ".join,
)
def test_every_row_of_a_dirty_history_is_what_its_truth_says(tmp_path: Path, flags: tuple[str, ...]) -> None:
    history = make_history(tmp_path / "h.csv", 30_000, "--seed", "5", "--dirt", "30", *flags)
    run_graph(tmp_path / "lake", history)
    assert truth_differs(tmp_path / "lake", history).to_pylist() == []
    assert reconcile(str(tmp_path / "lake")) == []


def test_small_cells_and_blocks_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history(tmp_path / "h.csv", 20_000, "--seed", "6", "--dirt", "30")
    monkeypatch.setattr("sources.cells.CELL_BYTES", 700_001)
    monkeypatch.setattr("sources.cells.BLOCK_BYTES", 50_003)
    run_graph(tmp_path / "lake", history)
    assert lake(str(tmp_path / "lake")).ledger.num_rows > 5
    assert truth_differs(tmp_path / "lake", history).to_pylist() == []


def test_every_message_is_in_the_branch_that_its_truth_says(tmp_path: Path) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 50, 400, *FLEET)
    run_graph(tmp_path / "lake", messages=messages)
    lk = lake(str(tmp_path / "lake"))
    with lk.connect() as connection:
        connection.execute(f"CREATE VIEW truth AS SELECT * FROM '{messages}.truth.parquet'")
        seen = " UNION ALL ".join(
            f"SELECT record, message_id, '{d}' AS branch FROM {d}" for d in ("positions", "qualified", "unqualified")
        )
        wrong = connection.sql(f"""
            SELECT * FROM truth t
            LEFT JOIN ({seen} UNION ALL SELECT record, NULL, 'dead_letters' FROM dead_letters) g ON g.record = t.line
            WHERE (t.branch <> 'duplicates' AND (t.branch IS DISTINCT FROM g.branch
                   OR t.message_id IS DISTINCT FROM g.message_id)) OR (t.branch = 'duplicates' AND g.branch IS NOT NULL)
        """).fetchall()
        ((duplicates,),) = connection.sql("SELECT count(*) FROM truth WHERE branch = 'duplicates'").fetchall()
    assert wrong == []
    assert duplicates == lk.ledger["duplicates"].to_pylist()[0]


def test_a_dead_letter_says_where_its_payload_stands(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 6_000, "--seed", "7", "--dirt", "20")
    messages = make_messages(tmp_path / "m.jsonl", 20, 100, *FLEET)
    run_graph(tmp_path / "lake", history, messages)
    letters = lake(str(tmp_path / "lake")).sql("SELECT * FROM dead_letters").to_pylist()
    assert len(letters) > 50
    for letter in letters:
        text = Path(letter["path"]).read_bytes()
        assert text[letter["offset"] : letter["offset"] + len(letter["payload"])] == letter["payload"]


def test_a_copy_a_gzip_and_a_second_run_add_nothing(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 8_000, "--seed", "8", "--dirt", "10")
    run_graph(tmp_path / "lake", history)
    before = content(tmp_path / "lake")
    copy = tmp_path / "another name.csv"
    shutil.copy(history, copy)
    packed = tmp_path / "h.csv.gz"
    packed.write_bytes(gzip.compress(history.read_bytes()))
    for path in (history, copy, packed):
        run_graph(tmp_path / "lake", path)
        assert content(tmp_path / "lake") == before


def test_gzip_alone_gives_the_same_rows(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--seed", "8")
    packed = tmp_path / "h.csv.gz"
    packed.write_bytes(gzip.compress(history.read_bytes()))
    run_graph(tmp_path / "plain", history)
    run_graph(tmp_path / "packed", packed)
    assert content(tmp_path / "plain") == content(tmp_path / "packed")


def test_a_message_in_two_recordings_is_seen_and_counted_once(tmp_path: Path) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 20, 200, "--seed", "4")
    lines = messages.read_bytes().splitlines(keepends=True)
    again = tmp_path / "again.jsonl"
    again.write_bytes(b"".join(lines[len(lines) // 2 :]))
    run_graph(tmp_path / "lake", messages=messages)
    once = content(tmp_path / "lake")
    run_graph(tmp_path / "lake", messages=again)
    twice = content(tmp_path / "lake")
    assert len(twice["ledger"]) == 2
    assert twice["stats"] == once["stats"]
    assert [len(twice[d]) for d in ("positions", "qualified")] == [len(once[d]) for d in ("positions", "qualified")]
    assert reconcile(str(tmp_path / "lake")) == []


def test_rows_of_a_unit_that_is_not_committed_are_not_seen(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--seed", "9")
    root = tmp_path / "lake"
    run_graph(root, history)
    (row,) = (root / "ledger" / "source=history").iterdir()
    assert is_committed(str(root), Source.HISTORY, row.stem)
    row.unlink()
    assert not is_committed(str(root), Source.HISTORY, row.stem)
    assert lake(str(root)).sql("SELECT * FROM qualified").num_rows == 0


def test_killed_half_way_and_run_again_the_lake_is_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 120_000, "--seed", "10", "--dirt", "5")
    messages = make_messages(tmp_path / "m.jsonl", 50, 600, *FLEET)
    run_graph(tmp_path / "whole", history, messages)
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "pipelines.violations", "--quiet", "--history", str(history)]
    command += ["--messages", f"file:{messages}", "--output", str(killed)]
    dice = random.Random(1)
    kills = 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            seen = len(list(killed.rglob("*.parquet")))
            wanted = seen + dice.randrange(1, 12)
            while process.poll() is None and len(list(killed.rglob("*.parquet"))) < wanted:
                time.sleep(0.005)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
    subprocess.run(command, check=True, capture_output=True)
    assert kills >= 1, "every run ended before it could be killed"
    assert content(killed) == content(tmp_path / "whole")
    assert reconcile(str(killed)) == []


def test_on_s3_the_lake_is_the_same(tmp_path: Path, s3: str) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--seed", "11", "--dirt", "10")
    messages = make_messages(tmp_path / "m.jsonl", 20, 100, *FLEET)
    run_graph(tmp_path / "lake", history, messages)
    run_graph(f"{s3}/some/lake", history, messages)
    assert content(f"{s3}/some/lake") == content(tmp_path / "lake")
    assert reconcile(f"{s3}/some/lake") == []


@pytest.mark.skipif(not SHARED.exists(), reason="the real rows (../shared/data) are not at hand")
def test_real_rows_are_all_qualified(tmp_path: Path) -> None:
    run_graph(tmp_path / "lake", SHARED / "nyc_fy2015_real.csv")
    lk = lake(str(tmp_path / "lake"))
    assert lk.sql("SELECT count(*) AS n FROM qualified").to_pylist() == [{"n": 2199}]
    codes = lk.sql("SELECT violation_code AS c FROM qualified GROUP BY 1 ORDER BY count(*) DESC LIMIT 3")
    assert codes["c"].to_pylist() == [21, 38, 14]
