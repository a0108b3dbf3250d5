"""The Delta tables: a commit is refused if the table has changed since it was opened, and any engine reads them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from lake import lake, tables
from lake.copies import near
from lake.ledger import commit
from lake.publication import publish
from lake.storage import storage
from lake.tables import Table, TableFile, form_of
from schemas.errors import LakeDamaged, OutputUnusable
from schemas.lake import SCHEMAS, Dataset
from tests.lakes import Said, compacted, write

FORM = form_of(Dataset.QUALIFIED)


def added(root: str, unit: str) -> TableFile:
    """A file of two violations that no table has yet."""
    row = write(root, unit, [Said(f"{unit}1"), Said(f"{unit}2")])
    (file,) = (file for file in row["files"] if file["dataset"] == Dataset.QUALIFIED)
    return TableFile(file["path"], file["rows"], file["bytes"])


def rows(root: str) -> int:
    """How many rows another engine sees."""
    return int(DeltaTable(f"{root}/{Dataset.QUALIFIED}").to_pyarrow_dataset().count_rows())


def replaced_and_added_by_a_stale_writer(root: str) -> bool:
    """One takes the place of a file by another, and one that opened the table before adds the first file again, with a
    new one; whether the second commit was accepted."""
    old, new, third = (added(root, unit) for unit in "abc")
    Table(root, FORM, create=True).commit(1, [old], [], moves_rows=True)
    stale, other = Table(root, FORM), Table(root, FORM)
    assert other.commit(2, [new], [old.path], moves_rows=False)  # a compaction
    return stale.commit(3, [old, third], [], moves_rows=True)


def test_a_commit_to_a_table_that_has_changed_is_refused(tmp_path: Path) -> None:
    assert not replaced_and_added_by_a_stale_writer(str(tmp_path))
    assert rows(str(tmp_path)) == 2
    assert Table(str(tmp_path), FORM).number == 2


def test_without_compare_and_swap_the_same_doubles_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with deltalake's own retries, and another application's transaction, the stale commit is
    rebased."""

    def rebased(max_commit_retries: int, app_transactions: list[Any]) -> CommitProperties:
        return CommitProperties(max_commit_retries=15)

    monkeypatch.setattr(tables, "CommitProperties", rebased)
    assert replaced_and_added_by_a_stale_writer(str(tmp_path))
    assert rows(str(tmp_path)) == 6


def test_the_same_change_twice_is_known_by_its_number(tmp_path: Path) -> None:
    root = str(tmp_path)
    table = Table(root, FORM, create=True)
    assert table.number == 0
    assert table.commit(4, [added(root, "a")], [], moves_rows=True)
    assert Table(root, FORM).number == 4


def test_a_table_goes_back_to_an_earlier_change(tmp_path: Path) -> None:
    root = str(tmp_path)
    for number, unit in enumerate("abc", 1):
        Table(root, FORM, create=True).commit(number * 10, [added(root, unit)], [], moves_rows=True)
    table = Table(root, FORM)
    table.back_to(25)
    assert (table.number, table.files().num_rows) == (20, 2)


def test_the_bounds_of_a_file_are_those_of_its_rows_rounded_outwards(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [Said("1", 1_420_000_000), Said("2", 1_420_000_100)])])
    publish(root)
    (file,) = Table(root, FORM).files().to_pylist()
    assert (file["first"].timestamp(), file["last"].timestamp()) == (1_420_000_000, 1_420_000_100)
    assert (file["rows"], file["source"], file["month"]) == (2, "drones", "2014-12")


@given(st.datetimes(), st.booleans())
def test_a_bound_in_milliseconds_is_no_tighter_than_the_time(time: Any, up: bool) -> None:
    bound = datetime.fromisoformat(tables._json(time.replace(tzinfo=UTC), up)).replace(tzinfo=None)
    assert bound >= time if up else bound <= time
    assert abs((bound - time).total_seconds()) < 0.001


def test_every_dataset_is_a_table_with_its_columns_and_partitions(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [Said("1")])])
    publish(root)
    for dataset in Dataset:
        schema = DeltaTable(f"{root}/{dataset}").to_pyarrow_dataset().schema
        assert set(schema.names) == {*SCHEMAS[dataset].names, *form_of(dataset).partitions}
        assert not any(pa.types.is_dictionary(field.type) for field in form_of(dataset).schema)


def test_an_engine_sees_each_message_once_after_publications_and_a_compaction(tmp_path: Path) -> None:
    root = str(tmp_path)
    for unit in "abc":
        commit(root, [write(root, unit, [Said("twice"), Said(unit)])])
        publish(root)
    for _ in range(2):
        seen = DeltaTable(f"{root}/qualified").to_pyarrow_dataset().to_table()["message_id"].to_pylist()
        assert sorted(seen) == ["a", "b", "c", "twice"]
        compacted(root)


def test_only_row_groups_of_the_same_time_are_compared(tmp_path: Path) -> None:
    root = str(tmp_path)
    for number in range(6):
        commit(root, [write(root, f"u{number}", [Said(f"{number}", 1_420_000_000 + number * 1_000)])])
        publish(root)
    commit(root, [write(root, "late", [Said("3", 1_420_003_000)])])
    parts = lake(root).parts(Dataset.QUALIFIED)
    times = pa.array([1_420_003_000_000_000]).to_numpy()
    found = near(root, Dataset.QUALIFIED, parts.published, times, parts.known)
    assert [Path(fragment.path).stem for fragment in found.get_fragments()] == ["u3"]
    assert lake(root).sql("SELECT unit FROM duplicates").to_pylist() == [{"unit": "late"}]


@pytest.mark.parametrize("name", ["50%", "a\nb"])
def test_a_folder_that_cannot_have_a_table_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    root = str(tmp_path / name)
    commit(root, [write(root, "a", [Said("1")])])
    with pytest.raises(OutputUnusable, match="--publish off"):
        publish(root)
    assert lake(root).sql("SELECT count(*) AS n FROM qualified").to_pylist() == [{"n": 1}]


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [Said("1")])])
    publish(root)
    (tmp_path / "qualified/_delta_log/00000000000000000001.json").write_text("{")
    with pytest.raises(LakeDamaged, match="_delta_log"):
        lake(root).sql("FROM qualified")


def test_tables_on_s3_are_the_same(s3: str) -> None:
    root = f"{s3}/lake"
    for unit in "ab":
        commit(root, [write(root, unit, [Said("1"), Said(unit)])])
        publish(root)
    assert sorted(lake(root).sql("SELECT message_id FROM qualified")["message_id"].to_pylist()) == ["1", "a", "b"]
    assert Table(root, FORM).number == 2
    assert storage(root).list("ledger") == []
