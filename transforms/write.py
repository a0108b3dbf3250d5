"""Write the branches of a unit to the lake, and commit the unit to the ledger."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import PickleCoder, StrUtf8Coder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    ReadModifyWriteStateSpec,
    RuntimeState,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from lake.files import in_ledger, write_unit
from lake.large_payloads import checked_in
from lake.layout import part_name
from lake.ledger import commit, is_committed
from schemas.errors import NotReconciled
from schemas.lake import Dataset, Source
from sources.units import DUPLICATES, ROWS_IN, Tally, UnitBatch, UnitTally
from transforms.outputs import OUTPUT_DATASETS
from transforms.per_unit import PerUnit


class _Held:
    """Of a unit in one dataset."""

    def __init__(self) -> None:
        self.part = 0
        self.batches: list[pa.RecordBatch] = []
        """Of that part."""
        self.written = Tally("", 0)
        """The parts before."""


@beam.typehints.with_output_types(tuple[str, Tally])
class _Write(PerUnit[_Held]):
    def __init__(self, root: str, dataset: Dataset) -> None:
        self._root = root
        self._dataset = dataset

    def process(self, batch: UnitBatch) -> Iterator[UnitTally]:
        held = self.kept(batch, _Held())
        if batch.part != held.part:
            self._write(batch, held)
            held.part = batch.part
        rows = batch.rows
        if self._dataset == Dataset.DEAD_LETTERS:
            rows = checked_in(self._root, rows)
        held.batches.append(rows)
        if batch.last:
            self._write(batch, held)
            yield batch.unit.name, held.written

    def _write(self, batch: UnitBatch, held: _Held) -> None:
        tally = write_tally(self._root, self._dataset, batch._replace(part=held.part), held.batches)
        held.batches = []
        held.written = tally._replace(rows=held.written.rows + tally.rows, files=held.written.files + tally.files)


def write_tally(root: str, dataset: Dataset, batch: UnitBatch, batches: list[pa.RecordBatch]) -> Tally:
    """Write all rows of the batch's part of a unit in one dataset, and say what was written."""
    name = part_name(batch.unit.name, batch.part)
    written = write_unit(root, dataset, batch.unit.source, name, batches)
    return Tally(str(dataset), sum(b.num_rows for b in batches), tuple(written))


class Write(beam.PTransform):  # type: ignore[misc]
    """Batches of one dataset -> a :class:`Tally` a unit, once its files are there."""

    def __init__(self, root: str, dataset: Dataset) -> None:
        super().__init__()
        self._root = root
        self._dataset = dataset

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Parquet" >> beam.ParDo(_Write(self._root, self._dataset))


def ledger_row(unit: str, tallies: Iterable[Tally]) -> dict[str, Any]:
    """The ledger's row of a unit.

    Raises:
        NotReconciled: where a step did not report, or rows in are not rows out.
    """
    found = {tally.what: tally for tally in tallies}
    if (start := found.get(ROWS_IN)) is None or start.unit is None:
        raise NotReconciled(f"unit {unit}: the source did not say how many rows it read")
    source = start.unit.source
    missing = _reporters(source) - found.keys()
    if missing:
        raise NotReconciled(f"unit {unit}: no word from {', '.join(sorted(missing))}; run again")
    outputs = (*map(str, OUTPUT_DATASETS), DUPLICATES)
    counts = {name: found[name].rows if name in found else 0 for name in outputs}
    if sum(counts.values()) != start.rows:
        raise NotReconciled(f"unit {unit}: {start.rows} rows in, {sum(counts.values())} rows out: {counts}")
    return {
        "unit": unit,
        "source": str(source),
        "path": start.unit.path,
        "range_start": start.unit.start,
        "range_end": start.unit.end,
        "rows_in": start.rows,
        **counts,
        "counted": found[Dataset.STATS].rows if Dataset.STATS in found else 0,
        **in_ledger(file for what in sorted(found) for file in found[what].files),
        "columns": list(start.unit.columns),
        "separator": start.unit.separator if start.unit.columns else None,
    }


def _reporters(source: Source) -> set[str]:
    """The steps that say something of each unit of a source."""
    if source == Source.IMAGES:
        return {Dataset.IMAGES, Dataset.DEAD_LETTERS}
    branches: set[str] = {
        Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED, Dataset.DEAD_LETTERS, Dataset.STATS,
    }  # fmt: skip
    return branches | {DUPLICATES} if source == Source.DRONES else branches


def is_complete(tallies: Iterable[Tally]) -> bool:
    """Whether all steps have reported on the unit of these tallies."""
    found = {tally.what: tally for tally in tallies}
    start = found.get(ROWS_IN)
    return start is not None and start.unit is not None and _reporters(start.unit.source) <= found.keys()


class _Commit(beam.DoFn):  # type: ignore[misc]
    """Gathers a unit's tallies in state, not by GroupByKey: a unit is committed when its last one is here, also where
    the input never ends. What has not come when the input ends is missed then."""

    TALLIES = BagStateSpec("tallies", PickleCoder())
    UNIT = ReadModifyWriteStateSpec("unit", StrUtf8Coder())
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(self, root: str) -> None:
        self._root = root

    def start_bundle(self) -> None:
        self._complete: list[dict[str, Any]] = []

    def process(
        self,
        element: UnitTally,
        held: BagRuntimeState = beam.DoFn.StateParam(TALLIES),  # noqa: B008  # how Beam injects state
        name: RuntimeState = beam.DoFn.StateParam(UNIT),  # noqa: B008
        end: RuntimeTimer = beam.DoFn.TimerParam(END),  # noqa: B008
    ) -> None:
        unit, tally = element
        tallies = [*held.read(), tally]
        if not is_complete(tallies):
            held.add(tally)
            name.write(unit)
            end.set(GlobalWindow().max_timestamp())
            return
        for state in (held, name, end):  # a stream has a unit a second and partition, without end
            state.clear()
        self._complete.append(ledger_row(unit, tallies))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._complete:
            yield from map(GlobalWindows.windowed_value, commit(self._root, self._complete))

    @on_timer(END)  # type: ignore[untyped-decorator]
    def end(
        self,
        held: BagRuntimeState = beam.DoFn.StateParam(TALLIES),  # noqa: B008
        name: RuntimeState = beam.DoFn.StateParam(UNIT),  # noqa: B008
    ) -> None:
        if (tallies := list(held.read())) and not self._is_done(name.read()):
            ledger_row(name.read(), tallies)

    def _is_done(self, unit: str) -> bool:
        """Whether a copy of the same input has completed the unit: what is left over is then of this copy."""
        completed = any(row["unit"] == unit for row in self._complete)
        return completed or any(is_committed(self._root, source, unit) for source in Source)


class Commit(beam.PTransform):  # type: ignore[misc]
    """Tallies of all steps -> the names of the units that are now in the ledger."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return records | "Ledger" >> beam.ParDo(_Commit(self._root)).with_output_types(str)
