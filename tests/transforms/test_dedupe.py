"""A message published twice is one row; what is dropped is counted."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.lake import Source
from sources.units import DUPLICATES, TALLIES, Tally, Unit, UnitBatch
from transforms.dedupe import DropDuplicates, first_seen
from transforms.names import ROWS

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")


def batch(ids: list[str], first: int = 0, last: bool = False) -> UnitBatch:
    """Messages with these ids."""
    rows = pa.RecordBatch.from_pydict({"message_id": pa.array(ids, pa.string()), "record": np.arange(len(ids)) + first})
    return UnitBatch(UNIT, rows, last)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=10), max_size=5))
def test_the_first_of_each_id_stays(batches: list[list[str]]) -> None:
    seen = pa.chunked_array([], pa.string())
    kept: list[str] = []
    for ids in batches:
        first = first_seen(pa.array(ids, pa.string()), seen)
        fresh = [i for i, is_first in zip(ids, first, strict=True) if is_first]
        seen = pa.chunked_array([*seen.chunks, pa.array(fresh, pa.string())])
        kept += fresh
    assert kept == list(dict.fromkeys(i for ids in batches for i in ids))


def test_duplicates_across_the_batches_of_a_unit_are_dropped_and_counted() -> None:
    with TestPipeline() as pipeline:
        batches = [batch(["a", "b", "a"]), batch(["b", "c"], 3, last=True)]
        # One element, so that both batches are in one bundle, as a source gives them.
        elements = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b)
        fresh = elements | DropDuplicates()
        ids = fresh[ROWS] | beam.Map(lambda b: b.rows["message_id"].to_pylist())
        assert_that(ids, equal_to([["a", "b"], ["c"]]), label="rows")
        assert_that(fresh[TALLIES], equal_to([(UNIT.name, Tally(DUPLICATES, 2))]), label="tallies")


def test_of_two_the_one_that_was_published_first_stays_wherever_the_decoder_put_it() -> None:
    rows = batch(["b", "a", "b"], last=True).rows
    shuffled = rows.take(pa.array([2, 0, 1]))  # the careful rows stand behind the others
    with TestPipeline() as pipeline:
        element = UnitBatch(UNIT, shuffled, last=True)
        fresh = pipeline | beam.Create([element], reshuffle=False) | DropDuplicates()
        kept = fresh[ROWS] | beam.Map(lambda b: (b.rows["message_id"].to_pylist(), b.rows["record"].to_pylist()))
        assert_that(kept, equal_to([(["b", "a"], [0, 1])]))


def test_the_ids_of_one_unit_say_nothing_of_another() -> None:
    other = Unit(Source.DRONES, "fleet.jsonl", 1, 2, "drones-00001-other")
    batches = [batch(["a"]), batch(["a"], last=True)._replace(unit=other), batch(["a"], 1, last=True)]
    with TestPipeline() as pipeline:
        fresh = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b) | DropDuplicates()
        expected = [(other.name, Tally(DUPLICATES, 0)), (UNIT.name, Tally(DUPLICATES, 1))]
        assert_that(fresh[TALLIES], equal_to(expected))
