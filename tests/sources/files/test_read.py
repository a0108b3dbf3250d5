"""What is planned for a name or a pattern, what is read of it, and what is no input at all."""

import gzip
from functools import partial
from pathlib import Path

import apache_beam as beam
import boto3
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.errors import InputUnusable
from schemas.lake import ROWS_IN, Source
from sources.files import grid as cells
from sources.files.grid import Cell
from sources.files.history import HistoryCsv
from sources.files.read import plan, read_cell
from sources.files.recordings import RecordedMessages
from sources.input import ReadPlanned
from sources.unit_coder import UnitBatchCoder
from sources.units import BATCHES, TALLIES, Tally, Unit, UnitBatch, UnitBlock, UnitItem

HEADER = b"Summons Number,Issue Date,Violation Time,Violation Code\n"
ROWS = b"1,07/06/2015,0143A,21\n2,07/06/2015,0143P,14\n"


def read_all(pattern: str, root: Path) -> list[UnitItem]:
    """What the cells give that a history is planned into."""
    return [item for cell in plan(pattern, HistoryCsv()) for item in read_cell(cell, HistoryCsv(), str(root))]


def test_a_file_is_planned_in_cells_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELL_BYTES", 40)
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER + ROWS)
    assert plan(str(path), HistoryCsv()) == [
        Cell(Source.HISTORY, str(path), 0, 0, 40),
        Cell(Source.HISTORY, str(path), 1, 40, 80),
        Cell(Source.HISTORY, str(path), 2, 80, 100),
    ]


def test_a_pattern_names_the_files_in_order_and_no_directories(tmp_path: Path) -> None:
    for name in ("c.csv", "a.csv", "b.csv", "x.txt"):
        (tmp_path / name).write_bytes(HEADER + ROWS)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.csv" / "d.csv").write_bytes(HEADER + ROWS)
    for pattern in (f"{tmp_path}/*.csv", f"file://{tmp_path}/*.csv"):
        assert [Path(cell.path).name for cell in plan(pattern, HistoryCsv())] == ["a.csv", "b.csv", "c.csv"]
    assert len(plan(f"{tmp_path}/**/*.csv", HistoryCsv())) == 4


def test_patterns_name_files_in_a_bucket_too(s3: str, tmp_path: Path) -> None:
    client = boto3.client("s3")
    for name in ("in/b.csv", "in/a.csv", "in/x.txt", "other/c.csv"):
        client.put_object(Bucket="lake", Key=name, Body=HEADER + ROWS)
    assert [cell.path for cell in plan(f"{s3}/in/*.csv", HistoryCsv())] == [f"{s3}/in/a.csv", f"{s3}/in/b.csv"]
    assert [cell.path for cell in plan(f"{s3}/other/c.csv", HistoryCsv())] == [f"{s3}/other/c.csv"]
    (tmp_path / "a.csv").write_bytes(HEADER + ROWS)
    here, there = read_all(str(tmp_path / "a.csv"), tmp_path), read_all(f"{s3}/in/a.csv", tmp_path)
    assert isinstance(here[0], UnitBlock)
    assert isinstance(there[0], UnitBlock)
    assert here[0].unit.name == there[0].unit.name
    with pytest.raises(InputUnusable, match="in/nothing"):
        plan(f"{s3}/in/nothing*.csv", HistoryCsv())
    with pytest.raises(InputUnusable, match=r"nothing\.csv"):
        plan(f"{s3}/in/nothing.csv", HistoryCsv())


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.csv", None, "no file has this name"),
        ("missing*.csv", None, "no file has this name"),
        ("empty.csv", b"", "is empty"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\xff\xff", "no CSV file"),
        ("quoted.csv", b'"Summons Number\n', "no CSV file"),
        ("other.csv", b"a,b,c\n1,2,3\n", "does not name Summons Number, Issue Date"),
        ("no_code.csv", HEADER.replace(b",Violation Code", b"") + ROWS, "does not name Violation Code"),
        ("no_header.csv", ROWS, "the first line does not name"),
        ("blank.csv", b"\n" + HEADER + ROWS, "blank.csv"),
    ],
)
def test_a_file_that_is_not_a_history_is_an_error_of_the_plan(
    tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputUnusable) as error:
        plan(str(tmp_path / name), HistoryCsv())
    assert name in str(error.value)
    assert expected in str(error.value)


def test_one_file_that_is_not_a_history_stops_the_whole_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER + ROWS)
    (tmp_path / "b.csv").write_bytes(b"a,b\n")
    with pytest.raises(InputUnusable, match=r"b\.csv"):
        plan(f"{tmp_path}/*.csv", HistoryCsv())


PACKED = gzip.compress(HEADER + ROWS * 1000, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        PACKED[:100],
        PACKED[:-3],
        PACKED[:-6] + bytes(6),
        PACKED[:40] + bytes(b ^ 255 for b in PACKED[40:60]) + PACKED[60:],
        b"\x1f\x8bno gzip at all",
        gzip.compress(b"a,b\n1,2\n", mtime=0),
        gzip.compress(b"", mtime=0),
    ],
    ids=["cut early", "cut late", "wrong sum", "spoiled", "no gzip", "no history inside", "nothing inside"],
)
def test_a_damaged_gzip_file_is_an_error_without_rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cut.csv.gz").write_bytes(content)
    (cell,) = plan(str(tmp_path / "cut.csv.gz"), HistoryCsv())
    with pytest.raises(InputUnusable, match=r"cut\.csv\.gz"):
        next(read_cell(cell, HistoryCsv(), str(tmp_path / "lake")))


@pytest.mark.parametrize("content", [HEADER, HEADER[:-1], b"\xef\xbb\xbf" + HEADER, HEADER.replace(b"\n", b"\r\n")])
def test_a_header_alone_is_a_history_without_units(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content, mtime=0))
    assert read_all(f"{tmp_path}/a.csv*", tmp_path / "lake") == []


def test_a_unit_that_the_lake_has_is_not_read_again(tmp_path: Path) -> None:
    path, root = tmp_path / "a.csv", tmp_path / "lake"
    path.write_bytes(HEADER + ROWS)
    batch, tally = read_all(str(path), root)
    assert isinstance(batch, UnitBlock)
    assert tally == (batch.unit.name, Tally(ROWS_IN, 2, unit=batch.unit))
    run_graph(ReadOptions(str(path)), Settings(str(root), 3600), PipelineOptions([]))
    assert read_all(str(path), root) == []
    (tmp_path / "copy.csv.gz").write_bytes(gzip.compress(HEADER + ROWS, mtime=0))
    assert read_all(f"{tmp_path}/copy.csv.gz", root) == []
    assert len(read_all(str(path), tmp_path / "another lake")) == 2


def test_a_recording_is_a_row_a_line_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELL_BYTES", 16)
    monkeypatch.setattr(cells, "BLOCK_BYTES", 5)
    lines = [b'{"a":1}', b"", b"x", b"\xff", b'{"b":%d}' % 10**20, b"last"]
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\n".join(lines))
    form = RecordedMessages(Source.DRONES)
    items = [item for cell in plan(str(path), form) for item in read_cell(cell, form, str(tmp_path))]
    rows = [row for item in items if isinstance(item, UnitBatch) for row in item.rows.to_pylist()]
    assert [row["payload"] for row in rows] == lines
    assert [row["offset"] for row in rows] == [len(b"\n".join([*lines[:i], b""])) for i in range(len(lines))]
    assert sum(item[1].rows for item in items if isinstance(item[1], Tally)) == len(lines)


def test_a_slice_is_encoded_without_its_parent_batch() -> None:
    unit = Unit(Source.HISTORY, "é.csv", 10, 20, "history-00003-hash", ("Summons Number", "Days Parking In Effect    "))
    whole = pa.RecordBatch.from_pydict(
        {"n": pa.array(range(100_000)), "text": pa.array(["x" * 20] * 100_000), "null": pa.nulls(100_000, pa.string())}
    )
    batch = UnitBatch(unit, whole.slice(50_000, 3), last=True)
    encoded = UnitBatchCoder().encode(batch)
    assert len(encoded) < 2_000
    back = UnitBatchCoder().decode(encoded)
    assert back == batch
    assert isinstance(back.unit.source, Source)


def test_beam_encodes_batches_with_the_coder_for_them() -> None:
    assert isinstance(beam.coders.registry.get_coder(UnitBatch), UnitBatchCoder)
    assert UnitBatchCoder().is_deterministic()


def blocks(item: UnitBlock) -> tuple[str, bytes, bool]:
    """A block as it was read."""
    return Path(item.unit.path).name, item.block.data, item.last


def test_the_graph_reads_and_counts_the_rows_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER + ROWS)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + HEADER + ROWS * 2, mtime=0))
    planned = plan(f"{tmp_path}/*", HistoryCsv())
    with TestPipeline() as pipeline:
        read = pipeline | ReadPlanned(planned, partial(read_cell, form=HistoryCsv(), lake_root=str(tmp_path / "lake")))
        found = read[BATCHES] | beam.Map(blocks)
        counted = read[TALLIES] | beam.Map(lambda tally: (tally[1].what, tally[1].rows))
        assert_that(found, equal_to([("a.csv", ROWS, True), ("b.csv.gz", ROWS * 2, True)]), "rows")
        assert_that(counted, equal_to([(ROWS_IN, 2), (ROWS_IN, 4)]), "counts")


@pytest.mark.parametrize(("content", "expected"), [(b'[{"a":1}]', "a JSON array"), (b'{\n  "a": 1\n}', "many lines")])
def test_a_recording_without_one_message_a_line_is_an_error(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputUnusable, match=expected):
        plan(str(tmp_path / "a.json"), RecordedMessages(Source.DRONES))
