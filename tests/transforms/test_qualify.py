"""Each row takes exactly one branch."""

import apache_beam as beam
import pyarrow as pa
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.lake import Dataset, Source
from sources.units import Unit, UnitBatch
from transforms.qualify import Qualify, split

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")
KINDS = st.lists(st.tuples(st.sampled_from(["position", "violation", "answer"]), st.sampled_from([0, 21])), max_size=30)


def messages(kinds: list[tuple[str, int]]) -> pa.RecordBatch:
    """Messages of these kinds and codes, with their place; an answer is an officer's violation."""
    codes = [None if kind == "position" else code for kind, code in kinds]
    message_kinds = [kind.replace("answer", "violation") for kind, _ in kinds]
    officer = ["officer" if kind == "answer" else "raw" for kind, _ in kinds]
    return pa.RecordBatch.from_pydict(
        {
            "kind": pa.array(message_kinds, pa.string()).dictionary_encode(),
            "status": pa.array(officer, pa.string()).dictionary_encode(),
            "violation_code": pa.array(codes, pa.int16()),
            "place": pa.array(range(len(kinds)), pa.int64()),
        }
    )


@given(KINDS)
def test_every_row_takes_exactly_one_branch(kinds: list[tuple[str, int]]) -> None:
    found = {d: rows["place"].to_pylist() for d, rows in split(messages(kinds)).items()}
    expected: dict[Dataset, list[int]] = {d: [] for d in found}
    for place, (kind, code) in enumerate(kinds):
        seen = Dataset.QUALIFIED if code or kind == "answer" else Dataset.UNQUALIFIED
        expected[Dataset.POSITIONS if kind == "position" else seen].append(place)
    assert found == expected


def test_a_history_row_is_never_a_position() -> None:
    rows = pa.RecordBatch.from_pydict({"violation_code": pa.array([21, 0, 5], pa.int16())})
    assert {d: part.num_rows for d, part in split(rows).items()} == {
        Dataset.POSITIONS: 0, Dataset.QUALIFIED: 2, Dataset.UNQUALIFIED: 1,
    }  # fmt: skip


def test_each_branch_gets_the_end_of_the_unit() -> None:
    with TestPipeline() as pipeline:
        element = UnitBatch(UNIT, messages([("violation", 21)]), last=True)
        branches = pipeline | beam.Create([element]) | Qualify()
        for dataset, n in (("positions", 0), ("qualified", 1), ("unqualified", 0)):
            seen = branches[dataset] | dataset >> beam.Map(lambda b: (b.rows.num_rows, b.last))
            assert_that(seen, equal_to([(n, True)]), label=f"{dataset} seen")
