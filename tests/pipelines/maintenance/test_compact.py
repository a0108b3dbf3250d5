"""Compaction: fewer files, the same rows, whatever stops it and whoever reads or writes beside it."""

import itertools
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lake import Lake, lake
from lake.changes import COMPACTION, Change, put_change, read_changes
from lake.ledger import commit, is_committed
from lake.storage import storage
from lake.vacuum import vacuum
from pipelines.maintenance import flags
from pipelines.maintenance.compact import _command, compact
from pipelines.maintenance.reconcile import reconcile
from schemas.errors import InputUnusable
from schemas.lake import Dataset, Source
from tests.lakes import S3_NIGHTLY, Said, all_views, power_fails_at, write
from tests.support import LOCAL, content, make_history, make_messages, run_graph

pytestmark = pytest.mark.embedded  # slow: many runs over many lakes

MB = 1 << 20
KILLS = 4
ALL = ("positions", "qualified", "unqualified", "dead_letters", "stats", "images")


def add(root: str, number: int) -> None:
    """A unit of five messages, one of which the unit before has too."""
    mine = [Said(f"{number}-{n}", 1_420_000_000 + 86_400 * n, code=(None, 21, 0, 38)[n]) for n in range(4)]
    commit(root, [write(root, f"drones-{number:05d}", [*mine, Said(f"{number - 1}-1", 1_420_086_400)])])


def expected(units: int) -> list[str]:
    """The messages of the first so many units."""
    return sorted({f"{number}-{n}" for number in range(units) for n in range(4)} | ({"-1-1"} if units else set()))


def seen(lk: Lake) -> list[str]:
    """All messages that a reader sees."""
    with lk.connect() as connection:  # one for all views: opening it is what takes time
        views = ("positions", "qualified", "unqualified")
        found = [connection.sql(f"SELECT message_id FROM {view}").fetchall() for view in views]
    return sorted(name for rows in found for (name,) in rows)


def rows(root: str) -> dict[str, list[tuple[object, ...]]]:
    """All that readers see of the datasets."""
    found = all_views(lake(root))
    return {view: found[view] for view in ALL}


@S3_NIGHTLY
def test_files_become_few_and_sorted_and_readers_see_what_they_saw(root: str) -> None:
    for number in range(6):
        add(root, number)
    before, were = rows(root), len(lake(root).entries(*Dataset))
    change = compact(root, MB, LOCAL)
    assert change is not None
    lk = lake(root)
    assert rows(root) == before
    assert seen(lk) == expected(6)
    assert (were, len(lk.entries(*Dataset))) == (6 * 5, 5)  # a month apart: two of the qualified
    assert lk.sql("FROM duplicates").num_rows == 0
    assert sum(lk.ledger["duplicates"].to_pylist()) == 5
    assert reconcile(root) == []
    for path in lk.files(Dataset.QUALIFIED):
        with storage(root).filesystem.open_input_file(storage(root).full(path)) as file:
            times = pq.ParquetFile(file).read()["event_time"].to_pylist()
        assert times == sorted(times)


def test_compaction_is_idempotent_and_merges_new_units_with_old_ones(root: str) -> None:
    for number in range(3):
        add(root, number)
    assert compact(root, MB, LOCAL)
    assert compact(root, MB, LOCAL) is None
    for number in range(3, 6):
        add(root, number)
    before = rows(root)
    assert compact(root, MB, LOCAL)
    assert rows(root) == before
    assert lake(root).changes["path"].to_pylist() == ["publication", COMPACTION] * 2
    assert len(lake(root).entries(*Dataset)) == 5
    assert reconcile(root) == []


def test_very_many_files_become_few_in_several_compactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.merge.MAX_FILES", 2)
    root = str(tmp_path)
    for number in range(4):
        add(root, number)
    before = rows(root)
    files = [len(lake(root).files(Dataset.POSITIONS))]
    while compact(root, MB, LOCAL):
        files.append(len(lake(root).files(Dataset.POSITIONS)))
    assert files == [4, 2, 1]
    assert rows(root) == before


@S3_NIGHTLY
def test_a_redelivery_after_a_compaction_is_hidden_and_removed_by_the_next(root: str) -> None:
    for number in range(3):
        add(root, number)
    assert compact(root, MB, LOCAL)
    # By name it comes before the unit in which the message is published, which stays.
    commit(root, [write(root, "a", [Said("1-1", 1_420_086_400), Said("new")])])
    before = rows(root)
    assert seen(lake(root)) == sorted([*expected(3), "new"])
    assert compact(root, MB, LOCAL)
    assert rows(root) == before
    assert lake(root).sql("SELECT unit FROM qualified WHERE message_id = '1-1'").to_pylist() == [
        {"unit": "drones-00001"}
    ]
    assert reconcile(root) == []


def test_units_whose_files_were_replaced_are_still_done(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, 1)
    add(root, 2)
    assert compact(root, MB, LOCAL)
    vacuum(root, timedelta(0))
    assert is_committed(root, Source.DRONES, "drones-00001")
    assert commit(root, [write(root, "drones-00001", [Said("other")])]) == []


@S3_NIGHTLY
def test_open_readers_go_on_until_a_vacuum(root: str) -> None:
    for number in range(3):
        add(root, number)
    before = lake(root)
    assert compact(root, MB, LOCAL)
    assert seen(before) == seen(lake(root)) == expected(3)
    kept = vacuum(root, timedelta(days=1))
    assert (kept.files, kept.kept > 15) == (0, True)  # those of the units, and of the publication that found copies
    assert seen(before) == expected(3)
    assert vacuum(root, timedelta(0))[::2] == (kept.kept, 0)
    assert seen(lake(root)) == expected(3)
    assert vacuum(root, timedelta(0)) == (0, 0, 0)
    assert reconcile(root) == []


def test_a_dry_run_writes_nothing_and_a_run_prints_what_became_of_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tmp_path / "lake")
    for number in range(3):
        add(root, number)
    there = sorted(tmp_path.rglob("*"))

    def run(*arguments: str) -> str:
        assert _command(flags.compact().parse_args(["--lake", root, "--quiet", *arguments]), LOCAL) == 0
        return capsys.readouterr().out

    planned = run("--dry-run", "--retention", "0s")
    assert sorted(tmp_path.rglob("*")) == there
    assert re.search(r"qualified  +6 files, 0.\d\d MB +6 files, 0.\d\d MB +0 files", planned)
    done = run("--retention", "0s")
    assert re.search(r"qualified  +6 → 2  +0.\d\d → 0.\d\d  +9 → 7\n", done)
    assert "3 units published, 2 copies of rows dropped\n19 files, " in done
    assert "0 units published" in run()
    assert "0 files, 0.00 MB deleted" in run("--vacuum", "--older-than", "0s")
    assert run("--dry-run").splitlines()[1:] == ["nothing was changed (--dry-run)"]


def test_of_two_concurrent_compactions_one_wins_and_the_other_restarts(root: str) -> None:
    for number in range(4):
        add(root, number)
    before = rows(root)
    done = [threading.Thread(target=compact, args=(root, MB, LOCAL)) for _ in range(2)]
    for thread in done:
        thread.start()
    for thread in done:
        thread.join()
    assert rows(root) == before
    assert lake(root).changes["path"].to_pylist() == ["publication", COMPACTION]
    assert reconcile(root) == []


def test_a_change_of_a_number_that_is_taken_is_refused(root: str) -> None:
    assert put_change(root, Change(1, "aa", "first"))
    assert not put_change(root, Change(1, "bb", "second"))
    assert read_changes(root)["unit"].to_pylist() == ["change-000001-aa"]
    assert put_change(root, Change(3, "cc", "a listing that missed the second"))
    assert read_changes(root).num_rows == 1


@S3_NIGHTLY
@pytest.mark.parametrize(
    "stops",
    [(1, 4, 6, 8, 30), pytest.param(range(1, 31), marks=pytest.mark.nightly)],
    ids=["some writes", "each write"],
)
def test_a_stop_at_any_write_changes_nothing_and_the_next_run_does_all(
    root: str, stops: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        add(root, number)
    before = rows(root)
    for stop_at in stops:
        with monkeypatch.context() as patch:
            power_fails_at(patch, root, stop_at)
            try:
                change = compact(root, MB, LOCAL)
            except (OSError, RuntimeError) as error:  # the latter of the runner
                assert "the power fails" in str(error)  # noqa: PT017
                assert COMPACTION not in lake(root).changes["path"].to_pylist()
            else:
                assert change
                break
        assert rows(root) == before
    assert stop_at > 6  # files and the change; the publication was done before
    assert rows(root) == before
    assert vacuum(root, timedelta(days=1), deep=True).files > 0  # what the attempts left
    assert rows(root) == before
    assert reconcile(root) == []


def test_kill_9_beside_a_writer_and_a_reader(tmp_path: Path) -> None:
    root = str(tmp_path)
    chance = random.Random(5)
    stop, faults = threading.Event(), list[str]()
    units = [0]

    def work() -> None:
        while not stop.is_set():
            add(root, units[0])
            units[0] += 1
            stop.wait(0.5)

    def read() -> None:
        while not stop.is_set():
            lk = lake(root)
            if (found := seen(lk)) != expected(lk.ledger.num_rows):
                faults.append(f"{len(found)} messages in {lk.ledger.num_rows} units, {lk.changes.num_rows} changes")

    threads = [threading.Thread(target=of) for of in (work, read)]
    for thread in threads:
        thread.start()
    line = [sys.executable, "-m", "prestacop", "compact", "--lake", root, "--file-mb", "1", "--quiet"]
    started = time.monotonic()
    subprocess.run(line, check=True, capture_output=True)
    took = time.monotonic() - started
    killed = 0
    for attempt in itertools.count(1):
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.4, 1.0) * took)
            was_running = process.poll() is None
            process.kill()
        killed += was_running
        took *= 1 if was_running else 0.7  # the machine had more to do at first
        if attempt >= KILLS and killed:
            break
    subprocess.run(line, check=True, capture_output=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert seen(lake(root)) == expected(units[0])
    assert reconcile(root) == []


def test_history_and_messages_of_the_simulator(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--dirt", "10")
    for seed in (1, 2):
        messages = make_messages(tmp_path / f"m{seed}.jsonl", 10, 100, "--seed", str(seed), "--corrupt", "0.02")
        run_graph(tmp_path / "lake", history, messages)
    both = (tmp_path / "m1.jsonl").read_bytes() + (tmp_path / "m2.jsonl").read_bytes()
    (tmp_path / "m3.jsonl").write_bytes(both)
    run_graph(tmp_path / "lake", messages=tmp_path / "m3.jsonl")
    before = content(tmp_path / "lake")
    assert compact(str(tmp_path / "lake"), 64 * MB, LOCAL)
    vacuum(str(tmp_path / "lake"), timedelta(0))
    after = content(tmp_path / "lake")
    assert all(before[view] == after[view] for view in before if view != "ledger")
    assert reconcile(str(tmp_path / "lake")) == []
    run_graph(tmp_path / "lake", history, tmp_path / "m3.jsonl")  # nothing is read again
    assert content(tmp_path / "lake") == after


def test_no_lake_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="no lake at"):
        compact(str(tmp_path), MB, LOCAL)
