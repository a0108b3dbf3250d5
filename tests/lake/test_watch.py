"""A look at a lake gives what is new since the one before, each row once, whatever is folded meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from lake.changes import PUBLICATION
from lake.ledger import commit
from lake.merged_ledger import MergedLedger
from lake.publication import publish
from lake.storage import LocalStorage
from lake.watch import Watch
from schemas.errors import LakeDamaged
from tests.lakes import Said, write

COLUMNS = ["unit", "rows_in"]


def unit(number: int) -> str:
    """The name of a unit of a partition."""
    return f"drones-kafka-fleet-00000-{number:019d}"


def add(root: str, *numbers: int) -> None:
    """Commit units of one message each."""
    commit(root, [write(root, unit(number), [Said(f"m{number}")]) for number in numbers])


def look(watch: Watch) -> tuple[list[str], list[str]]:
    """The units and the kinds of changes that a look gives."""
    units: list[str] = []
    changes: list[str] = []
    watch.look(
        lambda rows: units.extend(rows["unit"].to_pylist()),
        lambda rows: changes.extend(rows["path"].to_pylist()),
        COLUMNS,
    )
    return units, changes


def test_each_row_is_given_once_whether_it_is_folded_or_not(tmp_path: Path) -> None:
    root, watch = str(tmp_path), Watch(str(tmp_path))
    assert look(watch) == ([], [])
    add(root, 0)
    assert look(watch) == ([unit(0)], [])
    assert (watch.tail, watch.number) == (1, 0)
    add(root, 1)
    publish(root)  # of one that was given, and of one that was not
    add(root, 2)
    assert look(watch) == ([unit(1), unit(2)], [PUBLICATION])
    assert (watch.tail, watch.number) == (1, 1)
    assert look(watch) == ([], [])
    fresh = Watch(root)
    assert look(fresh) == ([unit(0), unit(1), unit(2)], [PUBLICATION])
    assert (fresh.tail, fresh.number) == (1, 1)


def test_a_publication_that_is_not_folded_takes_its_units_out_of_the_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, watch = str(tmp_path), Watch(str(tmp_path))
    add(root, 0)
    look(watch)
    monkeypatch.setattr("lake.publication.fold", _killed)
    with pytest.raises(KeyboardInterrupt):
        publish(root)
    assert look(watch) == ([], [PUBLICATION])
    assert (watch.tail, watch.number) == (0, 1)
    monkeypatch.undo()
    publish(root)
    assert look(watch) == ([], [])
    assert (watch.tail, watch.number) == (0, 1)


def _killed(*_: Any) -> bool:
    raise KeyboardInterrupt


def test_a_row_that_comes_back_after_the_fold_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, watch = str(tmp_path), Watch(str(tmp_path))
    late = write(root, unit(0), [Said("1")])
    commit(root, [late])
    publish(root)
    assert look(watch) == ([unit(0)], [PUBLICATION])
    monkeypatch.setattr("lake.ledger.folded", lambda root, units: set())  # the worker looked before the fold
    assert commit(root, [late]) == [unit(0)]
    assert look(watch) == ([], [])
    assert watch.tail == 0


def test_rows_that_are_folded_while_they_are_read_are_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, watch = str(tmp_path), Watch(str(tmp_path))
    add(root, 0, 1)
    read = LocalStorage.read

    def read_late(self: LocalStorage, path: str) -> bytes:
        if "/source=drones/" in path:
            monkeypatch.setattr(LocalStorage, "read", read)
            publish(root)
        return read(self, path)

    monkeypatch.setattr(LocalStorage, "read", read_late)
    assert look(watch) == ([unit(0), unit(1)], [PUBLICATION])


def test_a_look_reads_no_row_that_was_given_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, watch = str(tmp_path), Watch(str(tmp_path))
    for number in range(4):
        add(root, 2 * number, 2 * number + 1)
        publish(root)
    add(root, 100, 101, 102)
    look(watch)
    reads: list[str] = []
    read, dataset = LocalStorage.read, MergedLedger.dataset
    monkeypatch.setattr(LocalStorage, "read", lambda self, path: reads.append(path) or read(self, path))  # type: ignore[func-returns-value]
    monkeypatch.setattr(MergedLedger, "dataset", lambda self, paths: reads.extend(paths) or dataset(self, paths))  # type: ignore[func-returns-value]

    def names() -> list[str]:
        look(watch)
        found = [path.rpartition("/")[2] for path in reads if "/_delta_log/" not in path]
        reads.clear()
        return found

    assert names() == []
    add(root, 103)
    assert names() == [f"{unit(103)}.parquet"]
    publish(root)
    reads.clear()
    assert len(names()) == 2  # the new file of the chain, and that of the changes


def test_the_folded_ledger_is_followed_as_it_would_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.merged_ledger._FANOUT", 3)  # so many files of one size become one
    root, watch = str(tmp_path), Watch(str(tmp_path))
    for number in range(4):
        add(root, number)
        publish(root)
        if number < 2:
            look(watch)
    units, _ = look(watch)
    assert units == [unit(2), unit(3)]
    followed, opened = watch._merged, MergedLedger(root)
    assert followed is not None
    assert followed.number == opened.number
    assert followed.files.sort_by("path").equals(opened.files.sort_by("path"))


def test_a_failed_look_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, watch = str(tmp_path), Watch(str(tmp_path))
    add(root, 0)

    def fail(rows: Any) -> None:
        raise OSError(5, "no")

    with pytest.raises(Exception, match="no"):
        watch.look(fail, lambda rows: None, COLUMNS)
    assert look(watch) == ([unit(0)], [])


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, 0)
    (path,) = tmp_path.glob("ledger/source=drones/*.parquet")
    path.write_bytes(b"PAR1")
    with pytest.raises(LakeDamaged, match=path.name):
        look(Watch(root))
