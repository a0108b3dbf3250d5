"""The graph through its real entry: what comes in is in the lake, once, as the truth says."""

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lake import lake
from lake.ledger import is_committed
from pipelines.maintenance.reconcile import reconcile
from schemas.lake import Source
from tests.support import LOCAL, content, make_history, make_messages, run_graph, truth_differs

FLEET = ("--seed", "3", "--duplicates", "0.05", "--corrupt", "0.02", "--v0-share", "0.3", "--disorder", "5")


@pytest.mark.parametrize(
    "flags",
    [
        ("--columns", "51", "--crlf", "--no-final-newline", "--bom"),
        *(
            pytest.param(flags, marks=pytest.mark.embedded)
            for flags in (
                ("--columns", "51"),
                ("--columns", "43"),
                ("--columns", "43", "--crlf", "--bom"),
                ("--columns", "34", "--no-final-newline"),
            )
        ),
    ],
    ids=" ".join,
)
def test_every_row_of_a_dirty_history_matches_its_truth(tmp_path: Path, flags: tuple[str, ...]) -> None:
    history = make_history(tmp_path / "h.csv", 20_000, "--seed", "5", "--dirt", "20", *flags)
    run_graph(tmp_path / "lake", history)
    assert lake(str(tmp_path / "lake")).ledger["rows_in"].to_pylist() == [20_000]
    assert truth_differs(tmp_path / "lake", history).to_pylist() == []
    assert reconcile(str(tmp_path / "lake")) == []


def test_every_row_of_a_packed_history_matches_its_truth(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv.gz", 20_000, "--seed", "5", "--dirt", "20")
    run_graph(tmp_path / "lake", history)
    assert lake(str(tmp_path / "lake")).ledger["rows_in"].to_pylist() == [20_000]
    assert truth_differs(tmp_path / "lake", history).to_pylist() == []


@pytest.mark.embedded
def test_small_cells_and_blocks_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history(tmp_path / "h.csv", 20_000, "--seed", "6", "--dirt", "30")
    monkeypatch.setattr("sources.files.grid.CELL_BYTES", 700_001)
    monkeypatch.setattr("sources.files.grid.BLOCK_BYTES", 50_003)
    run_graph(tmp_path / "lake", history)
    assert lake(str(tmp_path / "lake")).ledger.num_rows > 5
    assert truth_differs(tmp_path / "lake", history).to_pylist() == []


def test_every_message_is_in_the_branch_of_its_truth(tmp_path: Path) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 50, 400, *FLEET)
    run_graph(tmp_path / "lake", messages=messages)
    lk = lake(str(tmp_path / "lake"))
    with lk.connect() as connection:
        connection.execute(f"CREATE VIEW truth AS SELECT * FROM '{messages}.truth.parquet'")
        seen = " UNION ALL ".join(
            f"SELECT record AS line, message_id, '{d}' AS branch FROM {d}"
            for d in ("positions", "qualified", "unqualified")
        )
        wrong = connection.sql(f"""
            SELECT * FROM (FROM truth WHERE branch <> 'duplicates') t
            FULL JOIN ({seen} UNION ALL SELECT record, NULL, 'dead_letters' FROM dead_letters) g USING (line)
            WHERE t.branch IS DISTINCT FROM g.branch OR t.message_id IS DISTINCT FROM g.message_id
        """).fetchall()
        ((duplicates,),) = connection.sql("SELECT count(*) FROM truth WHERE branch = 'duplicates'").fetchall()
    assert wrong == []
    assert lk.ledger["duplicates"].to_pylist() == [duplicates]
    assert duplicates > 100
    assert reconcile(str(tmp_path / "lake")) == []


def test_a_dead_letter_has_the_offset_of_its_payload(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 6_000, "--seed", "7", "--dirt", "20")
    messages = make_messages(tmp_path / "m.jsonl", 20, 100, *FLEET)
    run_graph(tmp_path / "lake", history, messages)
    letters = lake(str(tmp_path / "lake")).sql("SELECT * FROM dead_letters").to_pylist()
    assert len(letters) > 50
    for letter in letters:
        text = Path(letter["path"]).read_bytes()
        assert text[letter["offset"] : letter["offset"] + len(letter["payload"])] == letter["payload"]


@pytest.mark.embedded
def test_a_copy_a_gzip_and_a_second_run_are_idempotent(tmp_path: Path) -> None:
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


@pytest.mark.embedded  # slow
@pytest.mark.parametrize("workers", [1, 3])
def test_another_number_of_workers_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("sources.files.grid.CELL_BYTES", 300_001)
    history = make_history(tmp_path / "h.csv", 6_000, "--seed", "8", "--dirt", "10")
    run_graph(tmp_path / "two", history)
    options = LOCAL.from_dictionary(LOCAL.get_all_options() | {"direct_num_workers": workers})
    run_graph(tmp_path / "lake", history, options=options)
    assert len(content(tmp_path / "lake")["ledger"]) > 3
    assert content(tmp_path / "lake") == content(tmp_path / "two")


def test_a_row_cut_short_is_a_dead_letter_with_its_bytes_and_its_place(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 500, "--dirt", "0")
    lines = history.read_bytes().splitlines(keepends=True)
    cut = lines[300][:20]
    history.write_bytes(b"".join([*lines[:300], cut + b"\n", *lines[301:]]))
    run_graph(tmp_path / "lake", history)
    (letter,) = lake(str(tmp_path / "lake")).sql("FROM dead_letters").to_pylist()
    assert (letter["reason"], letter["record"], letter["path"]) == ("row_cut_short", 299, str(history))
    assert letter["payload"] == cut
    assert letter["offset"] == len(b"".join(lines[:300]))


@pytest.mark.embedded
def test_gzip_alone_gives_the_same_rows(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--seed", "8")
    packed = tmp_path / "h.csv.gz"
    packed.write_bytes(gzip.compress(history.read_bytes()))
    run_graph(tmp_path / "plain", history)
    run_graph(tmp_path / "packed", packed)
    assert content(tmp_path / "plain") == content(tmp_path / "packed")


@pytest.mark.embedded
def test_a_message_in_two_recordings_is_deduplicated(tmp_path: Path) -> None:
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


@pytest.mark.embedded
def test_rows_of_a_unit_that_is_not_committed_are_not_seen(tmp_path: Path) -> None:
    root, paths = tmp_path / "lake", [tmp_path / f"h{n}.csv" for n in range(2)]
    for n, path in enumerate(paths):
        make_history(path, 3_000, "--seed", str(n))
    run_graph(root, tmp_path / "h*.csv")
    rows = lake(str(root)).ledger.to_pylist()
    one, other = rows
    (root / "ledger" / "source=history" / f"{one['unit']}.parquet").unlink()
    assert not is_committed(str(root), Source.HISTORY, one["unit"])
    assert is_committed(str(root), Source.HISTORY, other["unit"])
    lk = lake(str(root))
    for view in ("qualified", "unqualified", "dead_letters"):
        assert lk.sql(f"SELECT count(*) AS n FROM {view}").to_pylist() == [{"n": other[view]}]
    assert lk.sql("SELECT sum(n)::INT AS n FROM stats").to_pylist() == [{"n": other["counted"]}]
    run_graph(root, tmp_path / "h*.csv")
    assert sum(lake(str(root)).ledger["rows_in"].to_pylist()) == 6_000


def newer(root: Path, than: float) -> int:
    """How many files were written since."""
    found = 0
    for path in root.rglob("*.parquet"):
        with suppress(FileNotFoundError):
            found += path.stat().st_mtime >= than
    return found


@pytest.mark.embedded
def test_killed_half_way_and_run_again_the_lake_is_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    for n in range(4):  # each a unit of its own
        make_history(tmp_path / f"h{n}.csv", 8_000, "--seed", str(n), "--dirt", "5")
    messages = make_messages(tmp_path / "m.jsonl", 50, 300, *FLEET)
    run_graph(tmp_path / "whole", str(tmp_path / "h*.csv"), messages)
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "prestacop", "run", "--quiet", "--history", str(tmp_path / "h*.csv")]
    command += ["--messages", f"file:{messages}", "--lake", str(killed)]
    kills = 0
    # After some of the files, after most of them, and between the rows of the ledger.
    moments = [(".", random.randrange(1, 40)), (".", random.randrange(40, 100)), ("ledger", 1)]
    for below, expected in moments:
        started = time.time()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while process.poll() is None and newer(killed / below, started) < expected:
                time.sleep(0.002)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        if killed.exists():  # what readers see is whole at any moment; the files of a killed unit are named, no more
            assert [
                line for line in reconcile_or_empty(killed) if "has files and no row of the ledger" not in line
            ] == []
    subprocess.run(command, check=True, capture_output=True)
    assert kills >= 1, f"every run ended before it could be killed: {moments}"
    assert content(killed) == content(tmp_path / "whole")
    for column in ("unit", "path", "files"):
        assert lake(str(killed)).ledger[column] == lake(str(tmp_path / "whole")).ledger[column]
    assert reconcile(str(killed)) == []


def reconcile_or_empty(root: Path) -> list[str]:
    """The faults of a lake; one without a unit has none."""
    return reconcile(str(root)) if lake(str(root)).ledger.num_rows else []


def test_on_s3_the_lake_is_the_same(tmp_path: Path, s3: str) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--seed", "11", "--dirt", "10")
    messages = make_messages(tmp_path / "m.jsonl", 20, 100, *FLEET)
    run_graph(tmp_path / "lake", history, messages)
    run_graph(f"{s3}/some/lake", history, messages)
    assert content(f"{s3}/some/lake") == content(tmp_path / "lake")
    assert reconcile(f"{s3}/some/lake") == []


def test_real_rows_are_all_qualified(tmp_path: Path, real_rows: Path) -> None:
    run_graph(tmp_path / "lake", real_rows)
    lk = lake(str(tmp_path / "lake"))
    assert lk.sql("SELECT count(*) AS n FROM qualified").to_pylist() == [{"n": 2199}]
    codes = lk.sql("SELECT violation_code AS c FROM qualified GROUP BY 1 ORDER BY count(*) DESC LIMIT 3")
    assert codes["c"].to_pylist() == [21, 38, 14]
