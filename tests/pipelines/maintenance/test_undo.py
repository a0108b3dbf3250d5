"""Undo: a unit is removed exactly, whatever became of its files, and restored."""

import io
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from deltalake import DeltaTable

from lake import lake
from lake.again import current_name, name_again
from lake.changes import undone
from lake.ledger import commit, is_committed
from lake.publication import publish
from lake.vacuum import vacuum
from pipelines.maintenance.compact import compact
from pipelines.maintenance.flags import undo as parser
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.trace import _command as trace
from pipelines.maintenance.undo import command, main
from pipelines.maintenance.undo_unit import put_back, read_again, undo
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_and_summarize
from schemas.errors import InputUnusable, NotReconciled
from schemas.lake import Source
from tests.lakes import S3_NIGHTLY, Said, all_views, compacted, power_fails_at, write
from tests.support import LOCAL, content, make_history, make_messages, run_graph

pytestmark = pytest.mark.embedded  # slow: many runs over many lakes

MB = 1 << 20
ALL = ("positions", "qualified", "unqualified", "dead_letters", "stats", "images")


def add(root: str, number: int, copies: bool = True) -> str:
    """A unit of four messages, and one of the unit before."""
    name = f"drones-{number:05d}"
    mine = [Said(f"{number}-{n}", 1_420_000_000 + 86_400 * n, code=(None, 21, 0, 38)[n]) for n in range(4)]
    before = [Said(f"{number - 1}-{n}", 1_420_000_000 + 86_400 * n, code=(None, 21, 0)[n]) for n in range(3)]
    commit(root, [write(root, name, mine + before * copies)])
    return name


def rows(root: str) -> dict[str, list[tuple[object, ...]]]:
    """All that readers see of the datasets."""
    found = all_views(lake(root))
    return {view: found[view] for view in ALL}


def messages(root: str) -> dict[str, list[str]]:
    """The same, whichever unit a message is shown of."""
    return {view: sorted(repr(row[0 if view == "stats" else 2 :]) for row in of) for view, of in rows(root).items()}


@cache
def without(units: int, *gone: int, copies: bool = True) -> dict[str, list[tuple[object, ...]]]:
    """What readers see of a lake that never had some of the units."""
    with TemporaryDirectory() as other:
        for number in set(range(units)) - set(gone):
            add(other, number, copies)
        return rows(other)


@pytest.mark.parametrize(
    ("root", "number", "is_compacted"),
    [("local", 1, False), ("local", 0, True), ("s3", 0, True), pytest.param("s3", 1, False, marks=pytest.mark.nightly)],
    indirect=["root"],
)
def test_undo_and_back_restore_the_lake_exactly(root: str, tmp_path: Path, number: int, is_compacted: bool) -> None:
    names = [add(root, n) for n in range(3)]
    before = messages(root)
    if is_compacted:
        compacted(root)
    committed = lake(root).as_committed
    change = undo(root, [names[number]], "undo by somebody: wrong file")
    assert change
    assert change["path"] == "undo by somebody: wrong file"
    assert rows(root) == without(3, number)
    assert reconcile(root) == []
    lk = lake(root)
    assert lk.as_committed.equals(committed)
    assert sum(lk.ledger["rows_in"].to_pylist()) == 14
    ((name, of),) = undone(lk.changes).items()
    assert (name, of.rows, of.what) == (names[number], 7, change["path"])
    assert is_committed(root, Source.DRONES, name)
    assert undo(root, [name], "again") is None
    vacuum(root, timedelta(days=1))
    assert put_back(root, [name], "back")
    assert messages(root) == before
    assert reconcile(root) == []
    assert undone(lake(root).changes) == {}
    assert put_back(root, [name], "back") is None
    assert undo(root, [name], "once more")
    assert rows(root) == without(3, number)
    assert reconcile(root) == []


@pytest.mark.parametrize("compactions", [1, 2])
def test_duplicates_that_compactions_removed_are_restored(tmp_path: Path, compactions: int) -> None:
    root = str(tmp_path / "lake")
    names = [add(root, 0)]
    for n in range(1, 4):
        names.append(add(root, n))
        if n >= 4 - compactions:
            compacted(root)
    change = undo(root, [names[0], names[1]], "undo")
    assert change
    assert [move for move in change["moves"] if move["out_of"] == "duplicates" and move["into"] != "undone"]
    assert rows(root) == without(4, 0, 1)
    assert reconcile(root) == []
    assert compact(root, MB, LOCAL)
    vacuum(root, timedelta(0))
    assert rows(root) == without(4, 0, 1)
    assert reconcile(root) == []


def test_where_a_vacuum_has_removed_the_copies_nothing_is_guessed(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    names = [add(root, n) for n in range(3)]
    compacted(root)
    vacuum(root, timedelta(0))
    before = rows(root)
    with pytest.raises(InputUnusable, match="cannot be restored"):
        undo(root, [names[0]], "undo")
    assert rows(root) == before
    assert reconcile(root) == []


def test_a_unit_without_copies_elsewhere_is_taken_out_after_a_vacuum_too_and_not_put_back_after_another(
    tmp_path: Path,
) -> None:
    root = str(tmp_path / "lake")
    names = [add(root, n, copies=False) for n in range(3)]
    compacted(root)
    vacuum(root, timedelta(0))
    assert undo(root, [names[1]], "undo")
    assert rows(root) == without(3, 1, copies=False)
    vacuum(root, timedelta(0))
    assert rows(root) == without(3, 1, copies=False)
    assert reconcile(root) == []
    with pytest.raises(InputUnusable, match="a vacuum removed"):
        put_back(root, [names[1]], "back")
    assert reconcile(root) == []


@S3_NIGHTLY
@pytest.mark.parametrize(
    "stops",
    [(1, 4, *range(6, 20)), pytest.param(range(1, 20), marks=pytest.mark.nightly)],
    ids=["some writes", "each write"],
)
def test_a_crash_at_any_write_changes_nothing_and_a_retry_does_all(
    root: str, stops: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [add(root, n) for n in range(3)]
    compacted(root)
    before = messages(root)
    for action in (undo, put_back):
        number, is_done, was = lake(root).number, False, messages(root)
        for stop_at in stops:
            with monkeypatch.context() as patch:
                power_fails_at(patch, root, stop_at)
                try:
                    change = action(root, [names[1]], "x")
                except OSError as error:
                    assert "the power fails" in str(error)  # noqa: PT017
                    is_done = is_done or lake(root).number > number
                    assert lake(root).number == number + is_done
                    if not is_done:
                        assert messages(root) == was
                else:
                    assert bool(change) != is_done  # committed by the attempt that failed after it
                    break
        assert stop_at > 5
        assert rows(root) == without(3, 1) if action is undo else messages(root) == before
        assert action(root, [names[1]], "x") is None
        vacuum(root, timedelta(days=1))
        assert reconcile(root) == []


def test_at_once_with_another_undo_and_a_compaction_each_is_done_once(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    names = [add(root, n) for n in range(4)]
    faults: list[BaseException] = []

    def doing(*what: object) -> None:
        try:
            what[0](*what[1:])  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  # shown below
            faults.append(error)

    work = [(undo, root, [names[1]], "a"), (undo, root, names[1:3], "b"), (compact, root, MB, LOCAL)]
    threads = [threading.Thread(target=doing, args=of) for of in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert rows(root) == without(4, 1, 2)
    assert reconcile(root) == []
    taken = [(move["unit"], move["out_of"]) for change in lake(root).changes.to_pylist() for move in change["moves"]
             if move["into"] == "undone"]  # fmt: skip
    assert len(taken) == len(set(taken))
    # Where unit 2 was published before unit 1, the rows of unit 1 are its duplicates.
    assert sorted({unit for unit, _ in taken}) == names[1:3]


def test_open_readers_go_on_until_a_vacuum(tmp_path: Path) -> None:
    root = str(tmp_path)
    names = [add(root, n) for n in range(2)]
    before = lake(root)
    were = all_views(before)
    assert undo(root, names, "undo")
    assert all_views(before) == were
    assert rows(root)["positions"] == []
    assert reconcile(root) == []


def test_an_unknown_unit_changes_nothing(tmp_path: Path) -> None:
    root = str(tmp_path)
    name = add(root, 0)
    with pytest.raises(InputUnusable, match=r"drones-77777: neither a unit .* --list"):
        undo(root, [name, "drones-77777"], "undo")
    assert lake(root).changes.num_rows == 0
    with pytest.raises(InputUnusable, match="no lake at"):
        undo(str(tmp_path / "none"), [name], "undo")


def test_a_unit_whose_file_is_damaged_is_taken_out_and_one_that_does_not_add_up_is_not(tmp_path: Path) -> None:
    root = str(tmp_path)
    one, other = add(root, 0), add(root, 1)
    for path in lake(root).files("qualified"):  # type: ignore[arg-type]
        if one in path:
            (tmp_path / path).write_bytes(b"PAR1")
    assert undo(root, [one], "undo")
    assert all(one in fault and "was changed after it was replaced" in fault for fault in reconcile(root))
    row = write(root, "drones-00009", [Said("x")])
    commit(root, [{**row, "qualified": 2, "rows_in": 2}])
    with pytest.raises(NotReconciled, match="drones-00009: files of qualified hold 1 rows, the ledger says 2"):
        undo(root, [other, "drones-00009"], "undo")
    assert other not in undone(lake(root).changes)


def test_tickets_that_were_taken_for_messages_are_undone_and_read_as_tickets(tmp_path: Path) -> None:
    root, tickets = str(tmp_path / "lake"), make_history(tmp_path / "tickets.csv", 2_000, "--dirt", "20")
    messages = make_messages(tmp_path / "m.jsonl", 10, 60)
    run_graph(root, messages=messages)
    run_graph(root, messages=tickets)
    assert undo(root, [str(tickets)], "undo")
    told = run_and_summarize(ReadOptions(messages=str(tickets)), Settings(root, 3600), LOCAL, nullcontext())
    assert any("undone: 1 unit of this lake" in line and "--list" in line for line in told)
    run_graph(root, tickets)
    run_graph(tmp_path / "other", tickets, messages)
    found, expected = content(root), content(tmp_path / "other")
    assert all(found[view] == expected[view] for view in expected if view != "ledger")
    assert len(found["ledger"]) == len(expected["ledger"]) + 1
    assert reconcile(root) == []


def test_with_again_a_file_is_read_once_more_also_after_a_vacuum(tmp_path: Path) -> None:
    root, tickets = str(tmp_path / "lake"), make_history(tmp_path / "tickets.csv", 500, "--dirt", "20")
    run_graph(root, tickets)
    (gone,) = lake(root).ledger["unit"].to_pylist()
    before = counts(root)
    assert undo(root, [gone], "undo")
    vacuum(root, timedelta(0))
    run_graph(root, tickets)
    assert counts(root)["qualified"] == 0
    for _ in range(2):  # the second time as after a kill between the change and what readers look at
        read_again(root, [gone], "again")
    for _ in range(2):
        run_graph(root, tickets)
        assert counts(root) == before
    assert reconcile(root) == []
    with pytest.raises(InputUnusable, match="will be read again"):
        put_back(root, [gone], "back")
    assert undo(root, [name_again(gone)], "undo")
    assert counts(root)["qualified"] == 0
    assert put_back(root, [name_again(gone)], "back")
    assert counts(root) == before
    assert lake(root).ledger.num_rows == 2
    assert reconcile(root) == []


def counts(root: str) -> dict[str, int]:
    """How many rows readers see."""
    lk = lake(root)
    return {view: lk.sql(f"SELECT count(*) AS n FROM {view}")["n"][0].as_py() for view in ("qualified", "dead_letters")}


def test_the_unit_name_of_bytes_that_are_read_again(tmp_path: Path) -> None:
    root, names = str(tmp_path), ["drones-00000-" + 32 * "a"]
    for _ in range(2):
        assert current_name(root, Source.DRONES, names[0]) == names[-1]
        commit(root, [write(root, names[-1], [Said("m")])])
        assert current_name(root, Source.DRONES, names[0]) == names[-1]
        assert undo(root, [names[-1]], "undo")
        assert current_name(root, Source.DRONES, names[0]) == names[-1]
        assert read_again(root, [names[-1]], "again")
        names.append(name_again(names[-1]))


def test_a_topic_is_not_read_again(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [{**write(root, "drones-kafka-x-00000-0", [Said("m")]), "path": "kafka:t/0"}])
    assert undo(root, ["kafka:t/0"], "undo")
    with pytest.raises(InputUnusable, match="come from a topic"):
        read_again(root, ["kafka:t/0"], "again")
    assert put_back(root, ["kafka:t/0"], "back")


def test_the_tables_do_not_show_what_is_undone(tmp_path: Path) -> None:
    root = str(tmp_path)
    names = [add(root, n) for n in range(3)]
    publish(root)
    assert undo(root, [names[1]], "undo")
    assert undo(root, [names[2]], "undo")
    assert put_back(root, [names[2]], "back")
    assert read_again(root, [names[1]], "again")
    publish(root)
    shown = DeltaTable(f"{root}/stats").to_pyarrow_dataset().to_table(columns=["unit"])
    assert sorted(set(shown["unit"].to_pylist())) == [names[0], names[2]]


def test_trace_says_that_it_was_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path)
    name = add(root, 0)
    assert undo(root, [name], "undo by kelly: torn")
    assert trace(root, f"{name}/0") == 3
    assert "undo by kelly: torn" in capsys.readouterr().out


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    name, other = add(root, 0), add(root, 1)

    def ran(*arguments: str) -> str:
        assert command(parser().parse_args(["--lake", root, "--quiet", *arguments])) == 0
        return capsys.readouterr().out

    assert "would undo 1 unit; nothing was changed" in ran(name, "--dry-run")
    for answer in ("", "n", "no", "yes please"):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert "nothing was changed" in ran(name)
    assert lake(root).changes.num_rows == 0
    said = ran(name, "--yes", "--reason", "wrong file")
    assert "wrong file: 1 unit, 7 rows" in said
    assert f"--back {name}" in said
    listed = ran("--list").splitlines()
    assert len(listed) == 2
    assert "undone" in next(line for line in listed if name in line)
    assert "undone" not in next(line for line in listed if other in line)
    assert "nothing to do" in ran(name, "--yes")
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert "1 unit, 7 rows" in ran(name, "--back")
    assert "nothing to do" in ran(name, "--back", "--yes")


def test_the_command_ends_with_3_where_there_is_no_such_unit(tmp_path: Path) -> None:
    add(str(tmp_path), 0)
    line = [sys.executable, "-m", "prestacop", "undo", "--lake", str(tmp_path), "drones-9", "--yes"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "error: " in done.stderr
    assert "neither a unit" in done.stderr


@pytest.mark.parametrize(
    "wrong", [[], ["x", "--list"], ["x"], ["x", "--yes", "--reason", "a\nb"], ["x", "--back", "--list"]]
)
def test_wrong_usage(tmp_path: Path, wrong: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SystemExit, match="2"):
        main(["--lake", str(tmp_path), *wrong])
