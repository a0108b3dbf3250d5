"""Write a simulated ticket CSV of any size, with its truth beside it."""

import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apps.simulator.city import tickets as city
from apps.simulator.files import appearing, open_for_writing
from apps.simulator.tickets.corrupt import CODE, COUNTY, PLATE, STREET, Row, corrupt
from apps.simulator.tickets.dirt import dirty_records
from apps.simulator.tickets.rows import Chunk, RowMaker
from apps.simulator.tickets.truth import SCHEMA, truth_of
from schemas.history import COLUMNS_34, COLUMNS_43, COLUMNS_51
from terminal.bars import Bar

CHUNK_ROWS: Final = 100_000
"""Rows made at a time. The bytes of a file depend on it."""
LAYOUTS: Final = {len(columns): columns for columns in (COLUMNS_34, COLUMNS_43, COLUMNS_51)}
BOM: Final = b"\xef\xbb\xbf"

_THREADS: Final = 2
_Piece = memoryview | bytes


@dataclass(frozen=True, kw_only=True)
class History:
    """What to write. ``columns`` is one of :data:`LAYOUTS`, ``dirt`` multiplies the rates of :mod:`.dirt`."""

    rows: int
    seed: int
    output: Path
    columns: int = 51
    dirt: float = 1.0
    crlf: bool = False
    bom: bool = False
    final_newline: bool = True

    @property
    def terminator(self) -> str:
        """What ends a record."""
        return "\r\n" if self.crlf else "\n"

    @property
    def truth(self) -> Path:
        """Where the truth is written."""
        return self.output.with_name(self.output.name + ".truth.parquet")


def write_history(history: History, *, quiet: bool = False) -> None:
    """Write ``history.output`` and ``history.truth``: the same bytes for the same ``history``.

    A name that ends in ``.gz`` is compressed. Both files get their names at the end. Raises OSError.
    """
    maker = RowMaker(columns=history.columns, terminator=history.terminator, seed=history.seed)
    with appearing(history.truth, history.output) as (truth_part, output_part):
        compressed = history.output.suffix == ".gz"
        with (
            open_for_writing(output_part, compressed=compressed) as output,
            # Without the Arrow schema in it, every reader sees the plain types.
            pq.ParquetWriter(truth_part, SCHEMA, compression="zstd", store_schema=False) as truth,
            Bar(desc="simulator", total=history.rows, unit=" rows", quiet=quiet) as progress,
        ):
            if history.bom:
                output.write(BOM)
            # The last piece is written at the end, perhaps without its terminator.
            last: _Piece = (",".join(LAYOUTS[history.columns]) + history.terminator).encode()
            for pieces, table in _in_order(maker, history):
                output.write(last)
                for piece in pieces[:-1]:
                    output.write(piece)
                last = pieces[-1]
                truth.write_table(table)
                progress.update(len(table))
            output.write(last if history.final_newline else last[: -len(history.terminator)])


def _in_order(maker: RowMaker, history: History) -> Iterator[tuple[list[_Piece], pa.Table]]:
    """The chunks in order, made by threads a little ahead of the writer: Arrow and numpy release the GIL."""
    with ThreadPoolExecutor(_THREADS) as threads:
        ahead: deque[Future[tuple[list[_Piece], pa.Table]]] = deque()
        for first in range(0, history.rows, CHUNK_ROWS):
            ahead.append(threads.submit(_make, maker, history, first))
            if len(ahead) > _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _make(maker: RowMaker, history: History, first: int) -> tuple[list[_Piece], pa.Table]:
    """One chunk's text in pieces, none of them empty, and its truth."""
    count = min(CHUNK_ROWS, history.rows - first)
    chunk = maker.chunk(first, count)
    # Random numbers of their own: a clean row does not depend on the dirt of another.
    rng = np.random.default_rng((history.seed, first, 1))
    places = dirty_records(rng, first=first, count=count, factor=history.dirt, total=history.rows)
    choices = random.Random(int(rng.integers(2**63)))
    corrupted = {}
    for at, kind in places.items():
        row = _row(chunk, at, history.terminator)
        corrupt(kind, row, choices)
        corrupted[at] = (kind, row)
    lines = {at: _line(row, history.terminator) for at, (_, row) in corrupted.items()}
    return _pieces(chunk, lines), truth_of(chunk, corrupted)


def _row(chunk: Chunk, at: int, terminator: str) -> Row:
    """The clean row at a place that is not the chunk's first."""
    # It has no quotes.
    fields = chunk.rows[at].as_py().removesuffix(terminator).split(",")
    return Row(
        fields=fields,
        previous=int(chunk.summons[at - 1]),
        summons=int(chunk.summons[at]),
        plate=fields[PLATE],
        day=city.FISCAL_DAYS[chunk.days[at]],
        minute=int(chunk.minutes[at]),
        code=int(fields[CODE]),
        county=fields[COUNTY] or None,
        street=fields[STREET],
    )


def _line(row: Row, terminator: str) -> bytes:
    return (",".join(row.fields) + terminator).encode(row.encoding)


def _pieces(chunk: Chunk, lines: dict[int, bytes]) -> list[_Piece]:
    """The chunk's text, with ``lines`` in the place of its dirty rows; the rest is not copied."""
    _, offsets, data = chunk.rows.buffers()
    starts = np.frombuffer(offsets, dtype=np.int32)
    text = memoryview(data)
    pieces: list[_Piece] = []
    done = 0
    for at, line in lines.items():
        if at > done:
            pieces.append(text[starts[done] : starts[at]])
        pieces.append(line)
        done = at + 1
    count = len(chunk.rows)
    if done < count:
        pieces.append(text[starts[done] : starts[count]])
    return pieces
