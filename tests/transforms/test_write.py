"""Nothing is committed that does not add up."""

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from lake import lake
from lake.files import WrittenFile
from schemas.errors import NotReconciled
from schemas.lake import DUPLICATES, ROWS_IN, Dataset, Source, empty
from sources.units import Tally, Unit, UnitBatch, UnitTally
from transforms.messages.dedupe import DropDuplicates
from transforms.messages.rows import MESSAGE
from transforms.per_unit import PerUnit
from transforms.stats import CountByWindow
from transforms.write import Commit, Write, ledger_row

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 100, "drones-00000-hash")


def tallies(rows_in: int = 10, qualified: int = 3) -> list[Tally]:
    """What the steps say of a unit of drone messages."""
    return [
        Tally(ROWS_IN, rows_in, unit=UNIT),
        Tally(DUPLICATES, 1),
        Tally(Dataset.POSITIONS, 4),
        Tally(Dataset.QUALIFIED, qualified, (WrittenFile("qualified", "q.parquet", qualified, 9, "0f"),)),
        Tally(Dataset.UNQUALIFIED, 0),
        Tally(Dataset.DEAD_LETTERS, 2),
        Tally(Dataset.STATS, 7),
    ]


def test_a_unit_that_adds_up_has_a_row() -> None:
    row = ledger_row(UNIT.name, tallies())
    assert (row["rows_in"], row["positions"], row["duplicates"], row["counted"]) == (10, 4, 1, 7)
    assert row["files"] == [{"dataset": "qualified", "path": "q.parquet", "rows": 3, "bytes": 9}]
    assert row["sha256"] == ["0f"]


@pytest.mark.parametrize("rows_in", [9, 11])
def test_a_row_too_few_or_too_many_is_refused_and_the_unit_named(rows_in: int) -> None:
    with pytest.raises(NotReconciled, match=f"{UNIT.name}: {rows_in} rows in, 10 rows out"):
        ledger_row(UNIT.name, tallies(rows_in))


@pytest.mark.parametrize("place", range(7))
def test_a_step_that_did_not_report_is_missed(place: int) -> None:
    found = tallies()
    del found[place]
    with pytest.raises(NotReconciled, match=UNIT.name):
        ledger_row(UNIT.name, found)


def test_a_unit_that_is_read_twice_is_committed_once(tmp_path: Path) -> None:
    elements: list[UnitTally] = [(UNIT.name, tally) for tally in tallies()]
    for expected in ([UNIT.name], []):
        with TestPipeline() as pipeline:
            committed = pipeline | beam.Create(elements) | Commit(str(tmp_path))
            assert_that(committed, equal_to(expected))
    assert lake(str(tmp_path)).as_committed["unit"].to_pylist() == [UNIT.name]


@pytest.mark.parametrize("left_over", [1, 3])
def test_what_a_copy_of_the_same_input_says_after_the_commit_is_no_error(tmp_path: Path, left_over: int) -> None:
    reported = [(UNIT.name, tally) for tally in tallies()]
    elements = [*reported[:left_over], *reported]  # two copies at once: the last steps of the second have yet to speak
    with TestPipeline() as pipeline:
        committed = pipeline | beam.Create([*elements, *reported[left_over : left_over + 1]]) | Commit(str(tmp_path))
        assert_that(committed, equal_to([UNIT.name]))


def test_a_bundle_that_ends_inside_a_unit_is_an_error() -> None:
    step: PerUnit[list[int]] = PerUnit()
    batch = UnitBatch(UNIT, empty(MESSAGE), last=False)
    step.start_bundle()
    step.state_of(batch, [])
    with pytest.raises(RuntimeError, match=UNIT.name):
        step.finish_bundle()
    step.state_of(batch._replace(last=True), [])
    step.finish_bundle()


def rows_of(n: int, first: int = 0) -> pa.RecordBatch:
    """So many violations."""
    columns = {
        "unit": pa.array([UNIT.name] * n, pa.string()).dictionary_encode(),
        "record": pa.array(range(first, first + n), pa.int64()),
        "event_time": pa.array([1_420_000_000_000_000] * n, pa.int64()).cast(pa.timestamp("us", "UTC")),
        "violation_code": pa.array([21] * n, pa.int16()),
    }
    return pa.RecordBatch.from_pydict(columns)


def test_all_batches_of_a_unit_are_one_file_and_one_tally(tmp_path: Path) -> None:
    batches = [UnitBatch(UNIT, rows_of(2), last=False), UnitBatch(UNIT, rows_of(1, 2), last=True)]
    with TestPipeline() as pipeline:
        rows = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b)
        written = rows | Write(str(tmp_path), Dataset.QUALIFIED) | beam.Map(_short)
        path = f"qualified/source=drones/month=2014-12/{UNIT.name}.parquet"
        assert_that(written, equal_to([(UNIT.name, "qualified", 3, [(path, 3)])]))
    assert pq.ParquetFile(tmp_path / path).read()["record"].to_pylist() == [0, 1, 2]


def _short(element: UnitTally) -> tuple[str, str, int, list[tuple[str, int]]]:
    unit, tally = element
    return unit, tally.what, tally.rows, [(file.path, file.rows) for file in tally.files]


def test_units_of_one_bundle_do_not_mix(tmp_path: Path) -> None:
    other = Unit(Source.DRONES, "fleet.jsonl", 100, 200, "drones-00001-other")
    batches = [
        UnitBatch(UNIT, rows_of(2), last=False),
        UnitBatch(other, rows_of(5), last=True),
        UnitBatch(UNIT, rows_of(1, 2), last=True),
    ]
    with TestPipeline() as pipeline:
        rows = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b)
        written = rows | Write(str(tmp_path), Dataset.QUALIFIED) | beam.Map(lambda t: (t[0], t[1].rows))
        assert_that(written, equal_to([(UNIT.name, 3), (other.name, 5)]))


@pytest.mark.parametrize("what", [Write(".", Dataset.QUALIFIED), CountByWindow(".", 3600), DropDuplicates()])
def test_a_runner_that_cuts_a_unit_in_two_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: beam.PTransform
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {n: pa.nulls(2, MESSAGE.field(n).type) for n in MESSAGE.names if n not in rows_of(2).schema.names}
    columns |= {"message_id": pa.array(["a", "b"])}
    columns |= {
        name: pa.array([text, text]).dictionary_encode()
        for name, text in zip(("area", "kind", "status"), ("K", "violation", "raw"), strict=True)
    }
    rows = pa.RecordBatch.from_pydict({**{n: rows_of(2)[n] for n in rows_of(2).schema.names}, **columns})
    with pytest.raises(RuntimeError, match=f"ended inside the units .*{UNIT.name}"), TestPipeline() as pipeline:
        _ = pipeline | beam.Create([UnitBatch(UNIT, rows, last=False)], reshuffle=False) | what
    assert list(tmp_path.iterdir()) == []


def test_a_unit_that_does_not_add_up_ends_the_run_and_is_not_committed(tmp_path: Path) -> None:
    elements: list[UnitTally] = [(UNIT.name, tally) for tally in tallies(rows_in=11)]
    with pytest.raises(Exception, match="11 rows in, 10 rows out"), TestPipeline() as pipeline:
        _ = pipeline | beam.Create(elements) | Commit(str(tmp_path))
    assert lake(str(tmp_path)).as_committed.num_rows == 0


@given(st.integers(0, 5), st.lists(st.integers(0, 5), min_size=5, max_size=5))
def test_only_rows_in_that_are_rows_out_have_a_row(rows_in: int, out: list[int]) -> None:
    datasets = (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED, Dataset.DEAD_LETTERS, DUPLICATES)
    found = [Tally(ROWS_IN, rows_in, unit=UNIT), Tally(Dataset.STATS, 0), *map(Tally, map(str, datasets), out)]
    if rows_in == sum(out):
        row = ledger_row(UNIT.name, found)
        assert [row[str(dataset)] for dataset in datasets] == out
    else:
        with pytest.raises(NotReconciled, match=UNIT.name):
            ledger_row(UNIT.name, found)
