"""Lakes that earlier versions wrote are read by every documented reader, alone and beside files of today."""

import json
import shutil
import tarfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from deltalake import DeltaTable

import lake.files
import lake.reader
from lake import Lake
from lake.format import FILE, FORMAT
from lake.publication import publish
from lake.tables import Table
from lake.vacuum import vacuum
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.lake import LEDGER_ROW, SCHEMAS, Dataset, Source
from sources.streams.plans import Chain, read_floors
from tests.lake.versions.make import MESSAGE, TICKETS, make
from tests.lake.versions.make_rich import shown
from tests.lakes import Said, compacted, write
from tests.support import LOCAL

HERE = Path(__file__).parent / "versions"
VERSIONS = sorted(path.name for path in HERE.iterdir() if (path / "lake").is_dir())
RICH = sorted(path.name.partition(".")[0] for path in HERE.glob("*.tar.xz"))
COUNTS = {"positions": 1, "qualified": 2, "unqualified": 1, "dead_letters": 2}
ALL = {"positions": ["m2"], "qualified": ["8000000001", "m1"], "unqualified": ["8000000002"]}


@pytest.fixture(params=VERSIONS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of the lake of a version."""
    return str(shutil.copytree(HERE / request.param / "lake", tmp_path / "lake"))


@pytest.fixture(params=RICH)
def rich(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lake with every kind of object; its inputs are beside it, in the current folder."""
    with tarfile.open(HERE / f"{request.param}.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "lake")


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version to come: violations and positions have one more optional column."""
    for dataset in (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED):
        schema = SCHEMAS[dataset].append(pa.field("wind_speed", pa.int64()))
        monkeypatch.setitem(SCHEMAS, dataset, schema)


def names(row: dict[str, Any]) -> str:
    """What a row is known by."""
    return str(row["message_id"] or row["summons_number"])


def by_lake(root: str) -> dict[str, list[str]]:
    """The rows that ``lake()`` shows."""
    found = {}
    for view in ALL:
        number = "NULL AS summons_number" if view == "positions" else "summons_number"
        found[view] = sorted(map(names, Lake(root).sql(f"SELECT message_id, {number} FROM {view}").to_pylist()))
    return found


def by_pyarrow(root: str) -> dict[str, list[str]]:
    """Those of the pyarrow datasets."""
    rows = {view: Lake(root).dataset(Dataset(view)).to_table().to_pylist() for view in ALL}
    return {view: sorted(names({"summons_number": None} | row) for row in of) for view, of in rows.items()}


def by_tables(root: str) -> dict[str, list[str]]:
    """Those of the Delta tables, after a publication."""
    rows = {view: DeltaTable(Path(root, view)).to_pyarrow_table().to_pylist() for view in ALL}
    return {view: sorted(names({"summons_number": None} | row) for row in of) for view, of in rows.items()}


READERS = {"lake": by_lake, "pyarrow": by_pyarrow}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_reads_every_version(root: str, reader: str) -> None:
    assert READERS[reader](root) == ALL


@pytest.mark.embedded
@pytest.mark.usefixtures("newer")
def test_a_new_optional_column_breaks_no_reader_of_old_files_nor_of_both(root: str) -> None:
    assert {name: reader(root) for name, reader in READERS.items()} == dict.fromkeys(READERS, ALL)
    row = write(root, "zz", [Said("new", 1_436_200_000), Said("here", 1_436_200_000, code=None)])
    lake.ledger.commit(root, [row])  # a file that has the column beside those that do not
    expected = {**ALL, "positions": ["here", "m2"], "qualified": [*ALL["qualified"], "new"]}
    assert {name: reader(root) for name, reader in READERS.items()} == dict.fromkeys(READERS, expected)
    assert Lake(root).sql("SELECT count(*) AS n, count(wind_speed) AS known FROM qualified").to_pylist() == [
        {"n": 3, "known": 0}
    ]
    compact(root, 1 << 20, LOCAL)
    vacuum(root, timedelta(0))
    assert by_lake(root) == by_pyarrow(root) == by_tables(root) == expected
    assert reconcile(root) == []


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake of the same input as the old ones, by the code of today."""
    folder = tmp_path_factory.mktemp("today")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # and back
        make(folder / "lake_of")
    return Lake(str(folder / "lake_of" / "lake"))


@pytest.mark.embedded
def test_an_old_lake_adds_up_and_its_units_are_those_of_today(root: str, today: Lake) -> None:
    assert reconcile(root) == []
    found = Lake(root)
    assert {view: found.sql(f"FROM {view}").num_rows for view in COUNTS} == COUNTS
    for dataset in ALL:
        (extra,) = found.sql(f"SELECT extra FROM {dataset} WHERE len(map_keys(extra)) > 0").to_pylist() or [None]
        assert (dataset == "unqualified") == (extra is None)
        assert extra is None or dict(extra["extra"]) == {"wind": '{"speed": 7}'}
    assert today.ledger["unit"].to_pylist() == found.ledger["unit"].to_pylist()


def test_the_newest_lake_is_of_today() -> None:
    """Where this fails, schemas/lake.py has changed: ``python -m tests.lake.versions.make vN`` keeps a lake of it."""
    newest = HERE / VERSIONS[-1] / "lake"
    schemas = {str(dataset): schema for dataset, schema in SCHEMAS.items()} | {"ledger": LEDGER_ROW}
    for dataset, schema in schemas.items():
        for path in (newest / dataset).rglob("*.parquet"):
            assert pq.ParquetFile(path).schema_arrow.remove_metadata().equals(schema), dataset


def test_what_was_put_in() -> None:
    assert len(TICKETS) + len(["message", "position", "refused"]) == sum(COUNTS.values())
    assert "wind" in MESSAGE


CONFLICT = {
    "qualified": "m2",
    "human_work": "2015-01-06 21 1 0",
    "stats": "qualified 2015-01-06 05:00:00+00 21 other 40.75,-73.99 1",
}
"""By view, the row of a message whose id another one has with other content: versions before 6 hid it."""


def expected_of(rich: str) -> dict[str, list[str]]:
    """What the views of a lake show: what they showed when it was written, and the message in conflict."""
    found: dict[str, list[str]] = json.loads(Path(rich).with_name("expected.json").read_text())
    return found | {view: sorted([*found[view], row]) for view, row in CONFLICT.items()}


@pytest.mark.embedded
def test_all_views_show_what_the_version_showed_that_wrote_the_lake(rich: str) -> None:
    expected = expected_of(rich)
    assert shown(rich) == expected
    assert reconcile(rich) == []
    compacted(rich)
    vacuum(rich, timedelta(0))
    assert shown(rich) == expected
    assert reconcile(rich) == []


def test_input_that_an_earlier_version_committed_adds_nothing(rich: str) -> None:
    before = Lake(rich).ledger
    shutil.copy("h1.csv", "renamed.csv")
    run_graph(ReadOptions("renamed.csv", "m3.jsonl"), Settings(rich, 3600), PipelineOptions([]))
    assert Lake(rich).ledger.equals(before)


def test_a_stream_resumes_after_the_last_offset_that_an_earlier_version_committed(rich: str) -> None:
    (stream,) = (path.name for path in (Path(rich) / "plans").iterdir())
    chain = Chain(rich, Source.DRONES, stream, 0, "kafka:drones/0", read_floors(rich, stream)[0])
    assert chain.follow() == []
    assert chain.next == 7


@pytest.mark.embedded
def test_the_first_publication_upgrades_an_older_lake(rich: str) -> None:
    expected = expected_of(rich)
    assert publish(rich)
    assert json.loads((Path(rich) / FILE).read_text()) == {"format": FORMAT}
    assert shown(rich) == expected
    assert reconcile(rich) == []
    for dataset in ("positions", "unqualified"):
        assert DeltaTable(Path(rich, dataset)).to_pyarrow_table().num_rows == len(expected[dataset])
    run_graph(ReadOptions("h1.csv", "m3.jsonl"), Settings(rich, 3600), PipelineOptions([]))
    assert shown(rich) == expected


@pytest.mark.embedded
def test_an_upgrade_that_is_killed_before_each_commit_loses_nothing(rich: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = expected_of(rich)
    commit, left = Table.commit, 0

    def killed(self: Table, *arguments: Any, **named: Any) -> bool:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return commit(self, *arguments, **named)

    monkeypatch.setattr(Table, "commit", killed)
    kills = 0
    with suppress(KeyboardInterrupt):
        publish(rich)
    while kills < 50:
        left = 1
        kills += 1
        with suppress(KeyboardInterrupt):
            publish(rich)
            break
        if kills == 3:
            assert shown(rich) == expected
    assert 3 <= kills < 50
    assert shown(rich) == expected
    assert reconcile(rich) == []
