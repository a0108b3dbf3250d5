"""Vacuum deletes what was replaced long enough ago, looks at each file once, and keeps what anybody may read."""

from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyarrow.fs import FileInfo

from lake import lake
from lake.changes import (
    COMPACTION,
    Change,
    attempted_change,
    changes_since,
    discard,
    last_change,
    put_change,
    writer_of,
)
from lake.files import WrittenFile
from lake.ledger import commit
from lake.publication import publish, settled
from lake.storage import LocalStorage, storage
from lake.tables import Table, TableFile, form_of
from lake.vacuum import find_due, lost_files, vacuum
from schemas.lake import Dataset
from tests.lakes import Said, all_views, compacted, write

NOW = timedelta(0)
DAY = timedelta(days=1)


def add(root: str, *names: str) -> None:
    """Units of two messages, one of which all have."""
    for name in names:
        commit(root, [write(root, name, [Said("same"), Said(name, 1_420_000_060)])])


def files(root: str) -> set[str]:
    """The paths of the data files that are there."""
    store = storage(root)
    found = (info.path.removeprefix(f"{store.base}/") for d in Dataset for info in store.list(str(d)))
    return {path for path in found if "/_delta_log/" not in path}


def live(root: str) -> set[str]:
    """The paths of those that the lake consists of."""
    return {file.path for file in lake(root).entries(*Dataset)}


def test_replaced_files_are_kept_for_the_retention_and_deleted_after_it(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    add(root, "a", "b", "c")
    before = all_views(lake(root)) | {"duplicates": []}
    compacted(root)
    replaced = files(root) - live(root)
    assert {writer_of(path)[:6] for path in replaced} == {"a", "b", "c", "change"}  # publication and compaction
    kept = vacuum(root, DAY)
    assert (kept.files, kept.kept) == (0, len(replaced))
    assert files(root) == replaced | live(root)
    deleted = vacuum(root, NOW)
    assert (deleted.files, deleted.kept) == (len(replaced), 0)
    assert deleted.bytes > 0
    assert files(root) == live(root)
    assert all_views(lake(root)) == before
    assert vacuum(root, NOW).files == 0


def test_a_vacuum_looks_only_at_what_was_replaced_since_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    monkeypatch.setattr("lake.vacuum._LATE_MS", 0)
    add(root, "a", "b")
    compacted(root)
    vacuum(root, NOW)
    assert not any(due.has_new for due in find_due(root, NOW))
    versions = [DeltaTable(root + f"/{dataset}").version() for dataset in (Dataset.QUALIFIED, Dataset.STATS)]
    vacuum(root, NOW)
    assert versions == [DeltaTable(root + f"/{dataset}").version() for dataset in (Dataset.QUALIFIED, Dataset.STATS)]
    add(root, "c", "d")
    publish(root)
    assert {file.dataset for due in find_due(root, NOW) for file in due.files} == {"qualified", "stats"}  # with copies


def test_tables_remember_removed_files_as_long_as_the_retention(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, "a")
    publish(root)
    for retention, days in ((timedelta(days=9), 9), (NOW, 1)):
        vacuum(root, retention)
        configuration = DeltaTable(root + "/qualified").metadata().configuration
        assert configuration["delta.logRetentionDuration"] == f"interval {days} days"
        assert configuration["delta.deletedFileRetentionDuration"] == f"interval {days + 2} days"


def test_files_of_a_change_that_lost_are_deleted_by_itself_and_of_a_killed_one_by_deep(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, "a")
    publish(root)
    lost, killed = (Change(1, token, COMPACTION) for token in ("aa", "bb"))
    paths = {change: f"stats/source=drones/{change.file_name(1)}.parquet" for change in (lost, killed)}
    for change, path in paths.items():
        assert attempted_change(path) == change.number
        storage(root).put(path, b"x")
    in_progress = f"stats/source=drones/{Change(2, 'cc', COMPACTION).file_name(1)}.parquet"
    storage(root).put(in_progress, b"x")
    lost = lost._replace(files=[WrittenFile("stats", paths[lost], 1, 1, "")])
    assert not put_change(root, lost)
    discard(root, lost)
    assert files(root) == live(root) | {paths[killed], in_progress}
    assert vacuum(root, NOW).files == 0
    assert [file.path for file in lost_files(root)] == [paths[killed]]
    assert vacuum(root, DAY, deep=True).files == 1
    assert files(root) == live(root) | {in_progress}


def test_the_repeated_commit_of_a_change_that_won_deletes_nothing(tmp_path: Path) -> None:
    root = str(tmp_path)
    add(root, "a")
    files_of_change = [WrittenFile("stats", "stats/source=drones/change-000001-aa-00001.parquet", 1, 1, "")]
    change = Change(1, "aa", COMPACTION, files=files_of_change)
    storage(root).put(files_of_change[0].path, b"x")
    assert put_change(root, change)
    assert not put_change(root, change)
    discard(root, change)
    assert files_of_change[0].path in files(root)


def test_files_that_were_replaced_before_the_first_publication_are_deleted(tmp_path: Path) -> None:
    root = str(tmp_path)
    row = write(root, "a", [Said("1")])
    commit(root, [row])
    old = next(file["path"] for file in row["files"] if file["dataset"] == "qualified")
    data, new = storage(root).read(old), old.replace("/a.", "/change-000001-aa-00001.")
    storage(root).put(new, data)
    assert put_change(root, Change(1, "aa", "as before", [WrittenFile("qualified", new, 1, len(data), "")], [old]))
    publish(root)
    assert vacuum(root, NOW).files == 1
    assert old not in files(root)
    assert new in files(root)


def test_what_no_table_remembers_is_deleted_by_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    add(root, "a", "b")
    compacted(root)
    replaced = files(root) - live(root)
    monkeypatch.setattr("lake.tables.Table.removed", lambda _: {})
    monkeypatch.setattr("lake.vacuum._SURE", NOW)
    assert vacuum(root, NOW).files == 0
    assert vacuum(root, NOW, deep=True).files == len(replaced)
    assert files(root) == live(root)


def test_the_log_of_a_table_stays_short_with_many_publications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    short = dict.fromkeys(("delta.logRetentionDuration", "delta.deletedFileRetentionDuration"), "interval 0 days")
    monkeypatch.setattr("lake.tables._CONFIGURATION", {"delta.checkpointInterval": "10", **short})
    row = write(root, "a", [Said("1", code=None)])
    path = next(file["path"] for file in row["files"] if file["dataset"] == Dataset.POSITIONS)
    data, log = storage(root).read(path), tmp_path / Dataset.POSITIONS / "_delta_log"
    most = 0
    for number in range(1, 61):
        new = path.replace("/a.", f"/a-{number}.")
        storage(root).put(new, data)
        gone = [path.replace("/a.", f"/a-{number - 1}.")]
        table = Table(root, form_of(Dataset.POSITIONS), create=True)
        assert table.commit(number, [TableFile(new, 1, len(data))], gone, moves_rows=False)
        most = max(most, len(list(log.iterdir())))
    assert most <= 10 + 3  # commits since the last checkpoint, this one and the one before, and the name of the last
    table = Table(root, form_of(Dataset.POSITIONS))
    assert table.number == 60
    assert table.files().num_rows == 1


def test_changes_that_are_folded_between_a_listing_and_a_read_are_found_in_the_folded_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, at_once = str(tmp_path), LocalStorage.list
    for opens in (lambda: lake(root).number, lambda: last_change(root), lambda: changes_since(root, 0).num_rows):
        add(root, f"u{len(list(tmp_path.rglob('*')))}")
        with monkeypatch.context() as patch:
            patch.setattr("lake.publication.fold", lambda *_: True)
            patch.setattr("lake.publication.settled", lake)
            publish(root)  # its change is not folded
        with monkeypatch.context() as patch:

            def listed(store: LocalStorage, prefix: str) -> list[FileInfo]:
                found = at_once(store, prefix)
                if "source=changes" in prefix:
                    patch.undo()
                    settled(root)
                return found

            patch.setattr(LocalStorage, "list", listed)
            number = opens()
        assert number == lake(root).number
