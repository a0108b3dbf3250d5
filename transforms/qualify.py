"""The dataset of each row: positions, qualified violations, or violations that an officer must look at."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.lake import ANSWERS, BRANCHES, Dataset
from schemas.messages import OFFICER, UNQUALIFIED
from sources.units import UnitBatch

COUNTED = (*map(str, BRANCHES), ANSWERS)
"""What statistics count. Officers' answers go to qualified/ too, but are not violations that a drone saw."""


def is_answer(status: pa.DictionaryArray) -> npt.NDArray[np.bool_]:
    """Which rows are an officer's answer; without one only the few distinct values are read."""
    place = pc.index(status.dictionary, OFFICER).as_py()
    found: npt.NDArray[np.bool_] = np.zeros(len(status), bool)
    return found if place < 0 else status.indices.fill_null(-1).to_numpy() == place


def branch_of(rows: pa.RecordBatch) -> npt.NDArray[np.int8]:
    """For each row the index of its dataset in BRANCHES. A history row is always a violation; an officer's answer is
    qualified whatever its code, as no officer has to look at it."""
    unqualified = pc.equal(rows["violation_code"], UNQUALIFIED).fill_null(False).to_numpy(zero_copy_only=False)
    branch = np.where(unqualified, 2, 1).astype(np.int8)
    if "kind" in rows.schema.names:
        branch[is_answer(rows["status"])] = 1
        branch[pc.equal(rows["kind"].cast(pa.string()), "position").to_numpy(zero_copy_only=False)] = 0
    return branch


def counted_as(rows: pa.RecordBatch) -> npt.NDArray[np.int8]:
    """For each row the index in COUNTED of what statistics count it as."""
    found = branch_of(rows)
    if "kind" in rows.schema.names:
        found[is_answer(rows["status"]) & (found == BRANCHES.index(Dataset.QUALIFIED))] = COUNTED.index(ANSWERS)
    return found


def split(rows: pa.RecordBatch) -> dict[Dataset, pa.RecordBatch]:
    """The rows of each branch; every row is in exactly one."""
    branch = branch_of(rows)
    if (branch[1:] >= branch[:-1]).all():  # sorted by branch: slices, no copy
        ends = np.searchsorted(branch, np.arange(len(BRANCHES)), side="right").tolist()
        starts = [0, *ends[:-1]]
        return {d: rows.slice(a, b - a) for d, a, b in zip(BRANCHES, starts, ends, strict=True)}
    return {dataset: rows.filter(pa.array(branch == place)) for place, dataset in enumerate(BRANCHES)}


class _Qualify(beam.DoFn):  # type: ignore[misc]
    def process(self, batch: UnitBatch) -> Iterator[Any]:
        for dataset, rows in split(batch.rows).items():
            yield beam.pvalue.TaggedOutput(str(dataset), batch.with_rows(rows))


class Qualify(beam.PTransform):  # type: ignore[misc]
    """Rows -> ``positions``, ``qualified``, ``unqualified``; each gets every batch, also without rows."""

    def expand(self, rows: beam.PCollection) -> Any:
        return rows | "By code" >> beam.ParDo(_Qualify()).with_outputs(*map(str, BRANCHES))
