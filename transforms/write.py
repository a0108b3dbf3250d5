"""Write the rows of a unit to the lake, and commit the unit to the ledger."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
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

from lake.changes import Move
from lake.files import in_ledger, write_unit
from lake.large_payloads import store_large_payloads
from lake.layout import found_name, part_name
from lake.ledger import commit, is_committed
from schemas.errors import NotReconciled
from schemas.lake import DUPLICATES, ERASED, ROWS_IN, ROWS_OUT, Dataset, Source
from schemas.messages import Reason
from sources.units import Tally, UnitBatch, UnitTally
from transforms.outputs import UPLOADED
from transforms.per_unit import PerUnit

_OF_UPLOADS = pa.array([Reason.IMAGE_NOT_UPLOADED, Reason.IMAGE_SIZE_DIFFERS])


class _UnitRows:
    """Rows of a unit in one dataset."""

    def __init__(self) -> None:
        self.part = 0
        self.batches: list[pa.RecordBatch] = []
        """Of the current part."""
        self.written = Tally("", 0)
        """The earlier parts."""


@beam.typehints.with_output_types(tuple[str, Tally])
class _Write(PerUnit[_UnitRows]):
    def __init__(self, root: str, dataset: Dataset) -> None:
        self._root = root
        self._dataset = dataset

    def process(self, batch: UnitBatch) -> Iterator[UnitTally]:
        state = self.state_of(batch, _UnitRows())
        if batch.part != state.part:
            self._write(batch, state)
            state.part = batch.part
        rows = batch.rows
        if self._dataset == Dataset.DEAD_LETTERS:
            rows = store_large_payloads(self._root, rows)
        state.batches.append(rows)
        state.written = state.written._replace(erased=state.written.erased + batch.erased)
        if batch.last:
            self._write(batch, state)
            yield batch.unit.name, state.written

    def _write(self, batch: UnitBatch, state: _UnitRows) -> None:
        tally = write_tally(self._root, self._dataset, batch._replace(part=state.part), state.batches)
        state.batches = []
        before = state.written
        state.written = before._replace(
            what=tally.what, rows=before.rows + tally.rows, files=before.files + tally.files
        )


def write_tally(root: str, dataset: Dataset, batch: UnitBatch, batches: list[pa.RecordBatch]) -> Tally:
    """Write all rows of one part of a unit in one dataset; gives what was written."""
    name = part_name(batch.unit.name, batch.part)
    if found := _found(dataset, batches):
        name = found_name(name, found)
    written = write_unit(root, dataset, batch.unit.source, name, batches)
    return Tally(str(dataset), sum(b.num_rows for b in batches), tuple(written))


def _found(dataset: Dataset, batches: list[pa.RecordBatch]) -> str | None:
    """A hash of the rows where they depend on which pictures were uploaded already (:func:`found_name`), else None."""
    if dataset == Dataset.IMAGES:
        columns = ["record"]
        depends = any(pc.any(rows[UPLOADED.name]).as_py() for rows in batches if UPLOADED.name in rows.schema.names)
    elif dataset == Dataset.DEAD_LETTERS:
        columns = ["record", "reason", "detail"]
        depends = any(pc.any(pc.is_in(rows["reason"].cast(pa.string()), _OF_UPLOADS)).as_py() for rows in batches)
    else:
        return None
    if not depends:
        return None
    digest = blake2b(digest_size=8)
    for rows in batches:
        digest.update(repr(rows.select(columns).to_pydict()).encode())
    return digest.hexdigest()


class Write(beam.PTransform):  # type: ignore[misc]
    """Batches of one dataset -> a :class:`Tally` per unit, once its files are written."""

    def __init__(self, root: str, dataset: Dataset) -> None:
        super().__init__()
        self._root = root
        self._dataset = dataset

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Parquet" >> beam.ParDo(_Write(self._root, self._dataset))


def ledger_row(unit: str, tallies: Iterable[Tally]) -> dict[str, Any]:
    """The ledger's row of a unit.

    Raises:
        NotReconciled: a step did not report, or rows in differ from rows out.
    """
    found = {tally.what: tally for tally in tallies}
    if (start := found.get(ROWS_IN)) is None or start.unit is None:
        raise NotReconciled(f"unit {unit}: no report of the rows read")
    source = start.unit.source
    missing = _reporters(source) - found.keys()
    if missing:
        raise NotReconciled(f"unit {unit}: no report from {', '.join(sorted(missing))}; run again")
    counts = {name: found[name].rows if name in found else 0 for name in ROWS_OUT}
    erased = sum(tally.erased for tally in found.values())
    if sum(counts.values()) + erased != start.rows:
        also = f", {erased} erased before" if erased else ""
        raise NotReconciled(f"unit {unit}: {start.rows} rows in, {sum(counts.values())} rows out: {counts}{also}")
    return {
        "unit": unit,
        "source": str(source),
        "path": start.unit.path,
        "range_start": start.unit.start,
        "range_end": start.unit.end,
        "rows_in": start.rows - erased,
        **counts,
        "moves": [Move(unit, ROWS_IN, ERASED, erased)._asdict()] if erased else None,
        "counted": found[Dataset.STATS].rows if Dataset.STATS in found else 0,
        **in_ledger(file for what in sorted(found) for file in found[what].files),
        "columns": list(start.unit.columns),
        "separator": start.unit.separator if start.unit.columns else None,
    }


def _reporters(source: Source) -> set[str]:
    """The steps that report on each unit of a source."""
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
    """Collects a unit's tallies in state, not by GroupByKey, so that a unit is committed with its last tally also in an
    unbounded run. When the input ends, a missing tally is an error."""

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
        collected: BagRuntimeState = beam.DoFn.StateParam(TALLIES),  # noqa: B008  # how Beam injects state
        name: RuntimeState = beam.DoFn.StateParam(UNIT),  # noqa: B008
        end: RuntimeTimer = beam.DoFn.TimerParam(END),  # noqa: B008
    ) -> None:
        unit, tally = element
        tallies = [*collected.read(), tally]
        if not is_complete(tallies):
            collected.add(tally)
            name.write(unit)
            end.set(GlobalWindow().max_timestamp())
            return
        for state in (collected, name, end):  # an unbounded stream has a unit per second and partition
            state.clear()
        self._complete.append(ledger_row(unit, tallies))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._complete:
            yield from map(GlobalWindows.windowed_value, commit(self._root, self._complete))

    @on_timer(END)  # type: ignore[untyped-decorator]
    def end(
        self,
        collected: BagRuntimeState = beam.DoFn.StateParam(TALLIES),  # noqa: B008
        name: RuntimeState = beam.DoFn.StateParam(UNIT),  # noqa: B008
    ) -> None:
        if (tallies := list(collected.read())) and not self._is_done(name.read()):
            ledger_row(name.read(), tallies)

    def _is_done(self, unit: str) -> bool:
        """Whether a copy of the same input has completed the unit; the leftover tallies are then of the copy."""
        completed = any(row["unit"] == unit for row in self._complete)
        return completed or any(is_committed(self._root, source, unit) for source in Source)


class Commit(beam.PTransform):  # type: ignore[misc]
    """Tallies of all steps -> the names of the units that are now in the ledger."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return records | "Ledger" >> beam.ParDo(_Commit(self._root)).with_output_types(str)
