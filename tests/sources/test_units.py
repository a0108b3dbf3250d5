"""Batches of a unit arrive as they were sent, and a unit has one name for ever."""

import apache_beam as beam
import pyarrow as pa
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.lake import ENUM, EXTRA, UTC, Source
from sources.unit_coder import UnitBatchCoder
from sources.units import Unit, UnitBatch

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCHEMA = pa.schema(
    [
        pa.field("unit", ENUM, nullable=False),
        pa.field("event_time", UTC),
        pa.field("code", pa.int16()),
        pa.field("payload", pa.large_binary()),
        pa.field("repairs", pa.list_(pa.string())),
        pa.field("extra", EXTRA),
    ]
)
"""A column of each type that travels through the graph."""
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "unit": NAMES,
            "event_time": st.none() | st.integers(-(10**15), 10**15),
            "code": st.none() | st.integers(0, 99),
            "payload": st.none() | st.binary(max_size=8),
            "repairs": st.none() | st.lists(NAMES, max_size=2),
            "extra": st.none() | st.lists(st.tuples(NAMES, NAMES), max_size=2),
        }
    ),
    max_size=6,
)
UNITS = st.builds(
    Unit,
    source=st.sampled_from(Source),
    path=NAMES,
    start=st.integers(0, 2**60),
    end=st.integers(0, 2**60),
    name=st.text("0123456789abcdef", min_size=32, max_size=32),
    columns=st.lists(NAMES, max_size=3).map(tuple),
)


@given(UNITS, ROWS, st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_a_batch_arrives_as_it_was_sent(
    unit: Unit, rows: list[dict[str, object]], first: int, n: int, last: bool
) -> None:
    whole = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    sent = UnitBatch(unit, whole.slice(min(first, whole.num_rows), n), last)
    arrived = UnitBatchCoder().decode(UnitBatchCoder().encode(sent))
    assert arrived == sent
    assert arrived.rows.schema == sent.rows.schema
    assert isinstance(arrived.unit.source, Source)
    assert isinstance(arrived.unit.columns, tuple)


def test_batches_go_through_a_shuffle_unharmed() -> None:
    unit = Unit(Source.DRONES, "fleet.jsonl", 0, 9, "drones-00000-hash")
    rows = pa.RecordBatch.from_pylist([{"unit": unit.name, "code": n} for n in range(4)], schema=SCHEMA)
    sent = [UnitBatch(unit, rows.slice(n, 2), last=n == 2) for n in range(3)]
    with TestPipeline() as pipeline:
        batches = pipeline | beam.Create(sent).with_output_types(UnitBatch)
        arrived = batches | beam.Reshuffle() | beam.Map(lambda b: (b.unit, b.rows["code"].to_pylist(), b.last))
        assert_that(arrived, equal_to([(unit, [n, n + 1], n == 2) for n in range(3)]))
