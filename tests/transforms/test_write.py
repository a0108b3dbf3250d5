"""Nothing is committed that does not add up."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from lake.ledger import read_ledger
from schemas.errors import NotReconciled
from schemas.lake import Dataset, Source, empty
from sources.units import DUPLICATES, ROWS_IN, Tally, Unit, UnitBatch, UnitTally, WrittenFile
from transforms.message_rows import MESSAGE
from transforms.per_unit import PerUnit
from transforms.write import Commit, ledger_row

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 0, 100, "hash")


def tallies(rows_in: int = 10, qualified: int = 3) -> list[Tally]:
    """What the steps say of a unit of drone messages."""
    return [
        Tally(ROWS_IN, rows_in, unit=UNIT),
        Tally(DUPLICATES, 1),
        Tally(Dataset.POSITIONS, 4),
        Tally(Dataset.QUALIFIED, qualified, (WrittenFile("qualified", "q.parquet", qualified, 9),)),
        Tally(Dataset.UNQUALIFIED, 0),
        Tally(Dataset.DEAD_LETTERS, 2),
        Tally(Dataset.STATS, 7),
    ]


def test_a_unit_that_adds_up_has_a_row() -> None:
    row = ledger_row(UNIT.name, tallies())
    assert (row["rows_in"], row["positions"], row["duplicates"], row["counted"]) == (10, 4, 1, 7)
    assert row["files"] == [{"dataset": "qualified", "path": "q.parquet", "rows": 3, "bytes": 9}]


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


def test_the_same_unit_twice_is_committed_once(tmp_path: Path) -> None:
    elements: list[UnitTally] = [(UNIT.name, tally) for tally in tallies()]
    for expected in ([UNIT.name], []):
        with TestPipeline() as pipeline:
            committed = pipeline | beam.Create(elements) | Commit(str(tmp_path))
            assert_that(committed, equal_to(expected))
    assert read_ledger(str(tmp_path))["unit"].to_pylist() == [UNIT.name]


def test_a_bundle_that_ends_inside_a_unit_is_an_error() -> None:
    step: PerUnit[list[int]] = PerUnit()
    batch = UnitBatch(UNIT, empty(MESSAGE), last=False)
    step.start_bundle()
    step.kept(batch, [])
    with pytest.raises(RuntimeError, match=UNIT.name):
        step.finish_bundle()
    step.kept(batch._replace(last=True), [])
    step.finish_bundle()
