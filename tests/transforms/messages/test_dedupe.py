"""A message published twice is one row; what is dropped is counted."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest import mock

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.lake import DUPLICATES, EXTRA, UTC, Source
from sources.units import TALLIES, Tally, Unit, UnitBatch
from transforms.messages.dedupe import DropDuplicates, _contents, _DropDuplicates, first_seen
from transforms.messages.rows import MESSAGE
from transforms.outputs import ROWS

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")


class Claim(NamedTuple):
    """A message: its id, what it says, and when it was published."""

    id: str
    says: str = ""
    published: int | None = None


def batch(claims: Sequence[Claim | str], first: int = 0, last: bool = False) -> UnitBatch:
    """These messages, or messages with these ids."""
    parsed = [Claim(claim) if isinstance(claim, str) else claim for claim in claims]
    given = {
        "record": pa.array(np.arange(len(parsed)) + first),
        "message_id": pa.array([claim.id for claim in parsed], pa.string()),
        "plate_id": pa.array([claim.says for claim in parsed], pa.string()),
        "extra": pa.array([[("x", claim.says)] for claim in parsed], EXTRA),
        "published_at": pa.array([claim.published for claim in parsed], UTC),
    }
    columns = [given.get(field.name, pa.nulls(len(parsed), field.type)) for field in MESSAGE]
    return UnitBatch(UNIT, pa.RecordBatch.from_arrays(columns, schema=MESSAGE), last)


def kept(batches: Sequence[Sequence[Claim]]) -> tuple[list[int], list[Any]]:
    """The numbers of the rows that stay, and the tallies."""
    step = _DropDuplicates()
    step.start_bundle()
    records: list[int] = []
    tallies = []
    for number, claims in enumerate(batches):
        start = sum(map(len, batches[:number]))
        for out in step.process(batch(claims, start, last=number == len(batches) - 1)):
            if isinstance(out, UnitBatch):
                records += out.rows["record"].to_pylist()
            else:
                tallies.append(out.value[1].rows)
    step.finish_bundle()
    return records, tallies


CLAIMS = st.lists(st.builds(Claim, st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([None, 1, 2, 3])))


@given(st.lists(CLAIMS, min_size=1, max_size=4))
def test_the_first_message_of_each_content_stays_however_the_unit_is_cut(batches: list[list[Claim]]) -> None:
    messages = [claim for claims in batches for claim in claims]
    first = {claim[:2]: record for record, claim in reversed(list(enumerate(messages)))}
    expected = sorted(first.values())
    assert kept(batches) == kept([messages]) == (expected, [len(messages) - len(expected)])


def test_conflicts_of_a_unit_stay_and_are_counted_in_a_metric() -> None:
    real, forged = Claim("a", "the violation", 5), Claim("a", "nothing", 6)
    pipeline = TestPipeline()
    batches = [batch([real, forged, real, Claim("b")]), batch([forged, Claim("a", "else", 7)], 4, last=True)]
    fresh = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b) | DropDuplicates()
    records = fresh[ROWS] | beam.Map(lambda b: b.rows["record"].to_pylist())
    assert_that(records, equal_to([[0, 1, 3], [5]]), label="rows")
    assert_that(fresh[TALLIES], equal_to([(UNIT.name, Tally(DUPLICATES, 2))]), label="tallies")
    result = pipeline.run()
    result.wait_until_finish()
    (counter,) = result.metrics().query(MetricsFilter().with_name("conflicts"))["counters"]
    assert counter.committed == 2


def test_a_unit_of_one_id_takes_time_by_its_rows_alone() -> None:
    """Each of 5,000 rows in 50 batches is compared by a look-up, not with each of those before."""
    looks = 0

    class Counted(bytes):
        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return bytes(self) == other

        __hash__ = bytes.__hash__

    with mock.patch("transforms.messages.dedupe._contents", lambda rows: ((n, Counted(c)) for n, c in _contents(rows))):
        records, _ = kept([[Claim("a", f"{b}-{n}") for n in range(100)] for b in range(50)])
    assert len(records) == 5_000
    assert looks < 5_000


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=10), max_size=5))
def test_the_first_of_each_id_stays(batches: list[list[str]]) -> None:
    seen = pa.chunked_array([], pa.string())
    found: list[str] = []
    for ids in batches:
        first = first_seen(pa.array(ids, pa.string()), seen)
        fresh = [i for i, is_first in zip(ids, first, strict=True) if is_first]
        seen = pa.chunked_array([*seen.chunks, pa.array(fresh, pa.string())])
        found += fresh
    assert found == list(dict.fromkeys(i for ids in batches for i in ids))


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
        rest = fresh[ROWS] | beam.Map(lambda b: (b.rows["message_id"].to_pylist(), b.rows["record"].to_pylist()))
        assert_that(rest, equal_to([(["b", "a"], [0, 1])]))


def test_the_ids_of_one_unit_say_nothing_of_another() -> None:
    other = Unit(Source.DRONES, "fleet.jsonl", 1, 2, "drones-00001-other")
    batches = [batch(["a"]), batch(["a"], last=True)._replace(unit=other), batch(["a"], 1, last=True)]
    with TestPipeline() as pipeline:
        fresh = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b) | DropDuplicates()
        expected = [(other.name, Tally(DUPLICATES, 0)), (UNIT.name, Tally(DUPLICATES, 1))]
        assert_that(fresh[TALLIES], equal_to(expected))
