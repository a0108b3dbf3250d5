"""Replay as a graph: dead letters of one reason are validated again, one change of the lake comes out.

files of dead letters ─► Reshuffle ─► Validate ─► Together ─► Commit: one change, in the ledger
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake import Lake
from lake.changes import Change, Move
from lake.files import write_unit
from lake.large_payloads import fetch_large_payloads, store_large_payloads
from lake.merge import Merged
from lake.reader import LakeFile
from lake.storage import open_file, storage
from pipelines.maintenance.compaction_graph import commit_parts
from schemas.errors import InputUnusable, PrestaCopError
from schemas.files.ticket_csv import ColumnNames
from schemas.history import Reason
from schemas.lake import DEAD_LETTER, REFUSED, Dataset, Source
from sources.files.csv_block import CsvBlock
from sources.files.history import HistoryCsv
from sources.payloads import PAYLOADS
from sources.progress import progress
from sources.units import Unit, UnitBatch
from transforms.history.parse import parse_block
from transforms.images import store_pictures
from transforms.messages.decode import decode_payloads
from transforms.outputs import Parsed, joined
from transforms.qualify import split
from transforms.stats import HOUR, WindowCounter

_WINDOWS = "SELECT unit, any_value(window_seconds) AS size FROM stats_of_all_units GROUP BY unit"


class LettersFile(NamedTuple):
    """A file with dead letters of the reason."""

    file: LakeFile
    reason: str
    units: dict[str, Unit]
    """By name, the units that have letters in the file."""
    windows: dict[str, int]
    """The size of the windows of each unit's statistics, in seconds."""


def letters_of(lk: Lake, reason: str) -> list[LettersFile]:
    """The files that hold dead letters of the reason."""
    rows = {row["unit"]: row for row in lk.ledger.to_pylist()}
    windows = {row["unit"]: row["size"] for row in lk.sql(_WINDOWS).to_pylist()}
    found = []
    for file in lk.entries(Dataset.DEAD_LETTERS):
        table = _read(lk.root, file)
        here = table.filter(pc.equal(table["reason"].cast(pa.string()), reason))["unit"].unique().to_pylist()
        if here:
            units = {name: _unit(rows[name]) for name in sorted(here)}
            found.append(LettersFile(file, reason, units, {name: windows.get(name, HOUR) for name in units}))
    return found


def _unit(row: dict[str, Any]) -> Unit:
    """The unit of a row of the ledger. Raises InputUnusable where the names of its file's columns are lost."""
    columns = tuple(row["columns"] or ())
    if row["source"] == Source.HISTORY and not columns:  # earlier versions did not store them
        try:
            with open_file(row["path"]) as file:
                columns = HistoryCsv().header(file, row["path"]).columns
        except PrestaCopError as error:
            raise InputUnusable(
                f"unit {row['unit']}: an early version wrote it without the names of its columns, and its file cannot "
                f"be read ({error}); restore the file and run the replay again"
            ) from error
    place = row["path"], row["range_start"], row["range_end"]
    return Unit(Source(row["source"]), *place, row["unit"], columns, row["separator"] or ",")


def validate(root: str, unit: Unit, letters: pa.RecordBatch, officer_keys: Sequence[bytes]) -> Parsed:
    """Validate dead letters of a unit again.

    Args:
        officer_keys: public keys that verify officers' answers.

    Returns:
        Rows that pass, under their old unit and record numbers; the letters that are still refused, with the reason
        of now.
    """
    payloads = letters.select(PAYLOADS.names)
    if unit.source == Source.DRONES:
        return decode_payloads(unit, payloads, officer_keys)
    if unit.source == Source.IMAGES:
        return store_pictures(root, UnitBatch(unit, payloads, last=True))
    # A payload without quotes and line ends is one line; one with them depends on the bytes that follow it.
    special = np.array([any(byte in payload for byte in b'"\r\n') for payload in payloads["payload"].to_pylist()], bool)
    groups = [np.flatnonzero(~special), *(np.array([place]) for place in np.flatnonzero(special))]
    return joined(_parse(unit, letters.take(pa.array(group))) for group in groups if len(group))


def _parse(unit: Unit, letters: pa.RecordBatch) -> Parsed:
    """Parse payloads of the history, each one record."""
    data = b"".join(payload + b"\n" for payload in letters["payload"].to_pylist())
    names = ColumnNames(unit.columns, unit.separator)
    block = CsvBlock(data, names)
    if block.num_rows != letters.num_rows:  # it was cut out of a longer record: no rule can read it
        return Parsed(parse_block(unit, CsvBlock(b"", names)).rows, letters)
    parsed = parse_block(unit, block)
    place = parsed.rows.schema.get_field_index("record")
    rows = parsed.rows.set_column(place, "record", letters["record"].take(parsed.rows["record"]))
    still = letters.take(parsed.dead_letters["record"])
    for name in ("reason", "detail"):
        still = still.set_column(still.schema.get_field_index(name), REFUSED.field(name), parsed.dead_letters[name])
    return Parsed(rows, still)


def replay_file(root: str, letters: LettersFile, name: str, officer_keys: Sequence[bytes]) -> Merged | None:
    """Validate the letters of a file and write the results under this name; None where nothing changes."""
    if letters.reason in (Reason.HEADER_LINE, Reason.OTHER_COLUMNS):
        return None  # the ledger has the column names of the file's first header, not theirs
    table = _read(root, letters.file)
    of_reason = pc.equal(table["reason"].cast(pa.string()), letters.reason)
    selected, kept = table.filter(of_reason), table.filter(pc.invert(of_reason)).to_batches()
    parts: dict[Dataset, list[pa.RecordBatch]] = {Dataset.DEAD_LETTERS: kept}
    moves: list[Move] = []
    for unit in letters.units.values():
        mine = selected.filter(pc.equal(selected["unit"].cast(pa.string()), unit.name))
        moved: Counter[Dataset] = Counter()
        counter = WindowCounter(letters.windows[unit.name])
        for some in fetch_large_payloads(root, mine):
            parsed = validate(root, unit, some, officer_keys)
            parts[Dataset.DEAD_LETTERS].append(store_large_payloads(root, parsed.dead_letters))
            for dataset, rows in _branches(unit.source, parsed.rows).items():
                if rows.num_rows:
                    parts.setdefault(dataset, []).append(rows)
                    moved[dataset] += rows.num_rows
            if parsed.rows.num_rows and unit.source != Source.IMAGES:
                counter.add(parsed.rows)
        moves += [Move(unit.name, str(Dataset.DEAD_LETTERS), str(dataset), n) for dataset, n in moved.items()]
        if moved and unit.source != Source.IMAGES:
            parts.setdefault(Dataset.STATS, []).append(counter.counts(unit.name))
    still = pa.Table.from_batches(parts[Dataset.DEAD_LETTERS], schema=DEAD_LETTER)
    if not moves and _reasons(still) == _reasons(table):
        return None
    source = Source(letters.file.source)
    files = [
        file
        for dataset, batches in parts.items()
        if batches
        for file in write_unit(root, dataset, source, name, batches)
    ]
    return Merged(files, [letters.file.path], moves)


def _branches(source: Source, rows: pa.RecordBatch) -> dict[Dataset, pa.RecordBatch]:
    return {Dataset.IMAGES: rows} if source == Source.IMAGES else split(rows)


def _reasons(letters: pa.Table) -> Counter[tuple[str, str]]:
    return Counter(zip(letters["reason"].to_pylist(), letters["detail"].to_pylist(), strict=True))


def _read(root: str, file: LakeFile) -> pa.Table:
    store = storage(root)
    # A file of an earlier version has fewer columns.
    files = pads.dataset([store.full(file.path)], schema=DEAD_LETTER, format="parquet", filesystem=store.filesystem)
    return files.to_table()


def replay_graph(
    pipeline: beam.Pipeline, root: str, files: list[LettersFile], change: Change, officer_keys: Sequence[bytes]
) -> beam.PCollection:
    """Build the graph; its last step commits the change, if anything changed."""
    named = [(letters, change.file_name(part)) for part, letters in enumerate(files, 1)]
    validated = (
        pipeline
        | "Files of dead letters" >> beam.Create(named)
        | "Spread" >> beam.Reshuffle()
        | "Validate" >> beam.ParDo(_Replay(root, officer_keys))
    )
    return commit_parts(validated, root, change)


@beam.typehints.with_output_types(tuple[None, Merged])
class _Replay(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, root: str, officer_keys: Sequence[bytes]) -> None:
        self._root = root
        self._officer_keys = officer_keys

    def process(self, element: tuple[LettersFile, str]) -> Iterator[tuple[None, Merged]]:
        letters, name = element
        merged = replay_file(self._root, letters, name, self._officer_keys)
        progress.advance(letters.file.bytes)
        if merged:
            yield None, merged
