"""Folding: the ledger has the tail alone, whatever is killed or comes late, and a folded unit is known as committed."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lake import Lake, lake, publication, reader, tables
from lake.changes import Change, put_change
from lake.ledger import commit, is_committed, read_back
from lake.merged_ledger import MergedLedger, chain_of, folded
from lake.news import committed_since, mark
from lake.publication import publish
from lake.storage import LocalStorage
from pipelines.maintenance.reconcile import reconcile
from schemas.lake import Source
from tests.lakes import Said, all_views, ids, write

STREAM = "drones-kafka-fleet-00000"


def unit(number: int, stream: str = STREAM) -> str:
    """The name of a unit of a stream."""
    return f"{stream}-{number:019d}"


def add(root: str, *names: str) -> None:
    """Commit units of one message each."""
    commit(root, [write(root, name, [Said(name)]) for name in names])


def objects(root: str, folder: str) -> int:
    """How many files are in a folder, those of Delta logs left out."""
    return sum("_delta_log" not in str(path) for path in Path(root, folder).rglob("*") if path.is_file())


def test_a_published_unit_leaves_the_ledger_and_is_still_committed(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, unit(0), "drones-00000-" + 32 * "a")
    assert publish(root) == 2
    assert objects(root, "ledger") == 0
    for name in (unit(0), "drones-00000-" + 32 * "a"):
        assert is_committed(root, Source.DRONES, name)
        assert read_back(root, Source.DRONES, name)
    assert not is_committed(root, Source.DRONES, unit(1))
    assert lake(root).units == 2
    assert lake(root).ledger["unit"].to_pylist() == ["drones-00000-" + 32 * "a", unit(0)]


def test_a_worker_that_comes_after_the_fold_commits_nothing(tmp_path: Path) -> None:
    root = str(tmp_path)
    late = write(root, unit(0), [Said("1")])
    assert commit(root, [late]) == [unit(0)]
    publish(root)
    seen = all_views(lake(root))
    assert commit(root, [late]) == []
    assert objects(root, "ledger") == 0
    assert all_views(lake(root)) == seen


def test_a_row_that_comes_back_is_seen_by_no_reader_and_published_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    late = write(root, unit(0), [Said("1")])
    commit(root, [late])
    publish(root)
    seen = all_views(lake(root))
    monkeypatch.setattr("lake.ledger.folded", lambda root, units: set())  # the worker looked before the fold
    assert commit(root, [late]) == [unit(0)]
    assert objects(root, "ledger") == 1
    assert all_views(lake(root)) == seen
    assert publish(root) == 0
    assert objects(root, "ledger") == 0
    assert all_views(lake(root)) == seen


def test_a_change_of_a_number_that_was_folded_is_refused(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, unit(0))
    late = Change(lake(root).number + 1, "late", "undo")  # planned before the publication
    publish(root)
    assert not put_change(root, late)
    assert lake(root).number == 1
    assert publish(root) == 0
    assert objects(root, "ledger") == 0


def test_a_change_that_others_have_folded_meanwhile_is_still_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    add(root, unit(0))
    publish(root)
    put_new = LocalStorage.put_new

    def put_and_fold(self: LocalStorage, path: str, data: bytes) -> bool:
        done = put_new(self, path, data)
        monkeypatch.setattr(LocalStorage, "put_new", put_new)
        publish(root)
        return done

    monkeypatch.setattr(LocalStorage, "put_new", put_and_fold)
    assert put_change(root, Change(2, "own", "undo"))
    assert objects(root, "ledger") == 0


STEPS: dict[str, tuple[object, str, int]] = {
    "the change": (publication, "put_change", 1),
    "the first table": (tables.Table, "commit", 1),
    "the second table": (tables.Table, "commit", 2),
    "the last table": (tables.Table, "commit", 4),
    "the fold": (publication, "fold", 1),
    "the removal of rows": (publication, "_remove_folded", 2),
}
"""What is not done any more: the n-th call of a function."""


@pytest.fixture(scope="module")
def unpublished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Any]]]:
    """A lake with a unit to publish, and what readers see of it."""
    root = tmp_path_factory.mktemp("unpublished") / "lake"
    add(str(root), unit(0))
    publish(str(root))
    commit(str(root), [write(str(root), unit(1), [Said(unit(0)), Said("2", code=None), Said("3", code=0)])])
    return root, _without_copies(all_views(lake(str(root))))


@pytest.mark.parametrize(
    "step", [step if step == "the fold" else pytest.param(step, marks=pytest.mark.embedded) for step in STEPS]
)
def test_a_publication_that_is_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpublished: tuple[Path, dict[str, list[Any]]], step: str
) -> None:
    root, seen = str(tmp_path / "lake"), unpublished[1]
    shutil.copytree(unpublished[0], root)
    faults = reconcile(root)  # no topic has these units
    owner, name, call = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)
    calls = count(1)

    def killed(*arguments: Any, **more: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, killed)
    with pytest.raises(KeyboardInterrupt):
        publish(root)
    monkeypatch.setattr(owner, name, original)
    assert _without_copies(all_views(lake(root))) == seen
    assert reconcile(root) == faults
    publish(root)
    assert _without_copies(all_views(lake(root))) == seen
    assert objects(root, "ledger") == 0
    assert lake(root).sql("SELECT count(*) AS n FROM duplicates").to_pylist() == [{"n": 0}]
    assert lake(root).ledger["duplicates"].to_pylist() == [0, 1]


def _without_copies(views: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: rows for name, rows in views.items() if name not in ("duplicates", "stats")}


@pytest.mark.parametrize("step", ["read_changes", "unit_paths", "read_rows"])
def test_a_reader_that_opens_while_rows_are_folded_sees_one_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    root = str(tmp_path)
    add(root, unit(0))
    publish(root)
    add(root, unit(1))
    original = getattr(reader, step)

    def folded_meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(reader, step, original)
        publish(root)
        return original(*arguments)

    monkeypatch.setattr(reader, step, folded_meanwhile)
    opened = Lake(root)
    assert ids(opened, "qualified") == [unit(0), unit(1)]
    assert opened.units == 2


def test_an_open_lake_stays_as_it_was(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, unit(0))
    publish(root)
    add(root, unit(1))
    opened = lake(root)
    publish(root)
    add(root, unit(2))
    publish(root)
    assert ids(opened, "qualified") == [unit(0), unit(1)]
    assert opened.units == 2


@pytest.mark.embedded
def test_objects_stay_few_however_many_units_there_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    monkeypatch.setattr(publication, "without_copies", lambda lk, change: change)  # there are none
    monkeypatch.setattr(publication, "_follow", lambda lk, dataset: True)  # the tables of rows are not looked at here
    for number in range(40):
        add(root, unit(number), unit(number, "drones-kafka-fleet-00001"))
        publish(root)
    assert objects(root, "ledger") == 0
    assert lake(root).units == 80
    live = MergedLedger(root).files
    assert live.num_rows <= 3 * 2 * 16  # chains, tiers, files of a tier
    assert lake(root).ledger.num_rows == 80


def test_a_look_up_of_new_units_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    for number in range(5):
        add(root, *(unit(number, f"drones-kafka-fleet-{partition:05d}") for partition in range(3)))
        publish(root)
    opened: list[int] = []
    original = MergedLedger.dataset

    def dataset(self: MergedLedger, paths: list[str]) -> Any:
        opened.append(len(paths))
        return original(self, paths)

    monkeypatch.setattr(MergedLedger, "dataset", dataset)
    new = [unit(5, f"drones-kafka-fleet-{partition:05d}") for partition in range(3)]
    assert folded(root, new) == set()
    assert folded(root, [unit(2)]) == {unit(2)}
    assert opened == [0, 1]


def test_what_was_committed_since_a_look(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, unit(0))
    publish(root)
    add(root, unit(1))
    before = mark(lake(root))
    assert committed_since(lake(root), before).num_rows == 0
    add(root, unit(2))
    publish(root)
    add(root, unit(3))
    assert sorted(committed_since(lake(root), before)["unit"].to_pylist()) == [unit(2), unit(3)]


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        (unit(7), STREAM),
        ("images-kafka-a-b.c_d-00012-0000000000000000001", "images-kafka-a-b.c_d-00012"),
        ("drones-pubsub-p.s-00000001420070400000-0123456789ab-7", "drones-pubsub-p.s"),
        ("history-00003-" + 32 * "a", "history"),
        ("change-000012-ab", "changes"),
        ("whatever", "others"),
    ],
)
def test_the_chain_of_a_unit(name: str, chain: str) -> None:
    assert chain_of(name) == chain
