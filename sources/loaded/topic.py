"""The files that the loader published to a topic, in pieces.

Each complete file is cut into the cells of its own grid, so the units, their names and their rows are those of the file
itself, and redelivered pieces are deduplicated.

The state of a file is in the lake: its fingerprint (``plans/loaded``) when all its rows are there; maintenance merges
them into a list (``plans/loaded_lists``), which is named by its hash. In an unbounded run
only the readers know the units of the cells, so they write them down (``plans/loaded_cells``).

A message that the loader did not send is refused, counted and logged, and does not end a run; before the stream forgets
it, it is stored under a hash of its bytes (``plans/loaded_refused``). Pieces of one file that contradict each other are
an error, since it is unknown which of them belong to the file.
"""

import logging
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from operator import attrgetter, itemgetter
from typing import NamedTuple

from apache_beam.metrics import Metrics

from lake.ledger import read_back
from lake.storage import storage
from schemas.errors import InputUnusable
from schemas.loaded import MAX_FILE_BYTES, Piece, decode
from sources.files.grid import LOOKBACK_BYTES, MAX_RECORD_BYTES, Cell
from sources.files.history import may_hold_header
from sources.loaded.notes import CELLS, REFUSED, REMEMBERED, digest, note_of, noted_unit
from sources.streams.base import Stream
from sources.units import Unit

_log = logging.getLogger(__name__)


class Span(NamedTuple):
    """Bytes ``start`` to ``end`` of a file, and the unit of the stream whose messages hold them."""

    start: int
    end: int
    unit: Unit


class Loaded(NamedTuple):
    """A file in a topic."""

    fingerprint: str
    path: str
    header: bytes
    size: int | None
    """None as long as its end is missing."""
    spans: tuple[Span, ...]
    """In order; where pieces were sent again, some overlap."""
    headers: bool = False
    """Whether a line of column names may follow the first one."""

    @property
    def there(self) -> int:
        """Up to which byte it is complete."""
        end = len(self.header)
        for span in self.spans:
            if span.start > end:
                break
            end = max(end, span.end)
        return end

    @property
    def is_complete(self) -> bool:
        """Whether no byte of it is missing."""
        return self.there == self.size

    @property
    def units(self) -> set[Unit]:
        """The units of the stream with pieces of it."""
        return {span.unit for span in self.spans}

    def cells(self, grid: Iterable[Cell]) -> "list[LoadedCell]":
        """The cells of the whole file, with what is known of each."""
        reach = list(accumulate((span.end for span in self.spans), max))
        return [self._cell(cell, reach) for cell in grid]

    def _cell(self, cell: Cell, reach: Sequence[int]) -> "LoadedCell":
        """A cell with its spans; ``reach`` is by span up to where it and those before it go."""
        first, last = cell.start - LOOKBACK_BYTES, cell.end + MAX_RECORD_BYTES
        near = self.spans[bisect_right(reach, first) : bisect_left(self.spans, last, key=itemgetter(0))]
        return LoadedCell(cell, self._replace(spans=tuple(span for span in near if span.end > first)))


class LoadedCell(NamedTuple):
    """A cell of a file that is complete."""

    cell: Cell
    file: Loaded
    """With the spans that the cell and its borders may need."""

    @property
    def key(self) -> str:
        """Identifies it among the cells of that file, and among those of the same place whose bytes come from elsewhere
        in the topic: the fingerprint alone does not identify the bytes."""
        spans = [(span.start, span.end, span.unit.name) for span in self.file.spans]
        return f"{self.file.fingerprint}-{digest(repr((self.cell, spans)).encode())}"


class Part(NamedTuple):
    """Pieces of one file that follow one another in a unit of the stream."""

    piece: Piece
    """The first one, without its data."""
    size: int | None
    """Of the whole file, where its last piece is among them."""
    span: Span
    headers_before: int
    """If the file goes on behind this byte, a line of column names may be in the pieces, or begin in them."""


class ForeignMessage(NamedTuple):
    """A message that the loader did not send."""

    offset: int
    message: bytes
    reason: str
    """It may repeat a part of the message, so it is escaped where it is shown."""


class ForeignMessages(NamedTuple):
    """The refused messages in a unit of the stream."""

    unit: Unit
    messages: int
    first: ForeignMessage
    """Without its bytes."""

    def __str__(self) -> str:
        refused = f"{self.unit.path}: message {self.first.offset} was not sent by the loader"
        others = f", nor were {self.messages - 1:,} later ones" if self.messages > 1 else ""
        return f"{refused} ({self.first.reason!a}){others}"


class LoadedTopic:
    """The files in a topic; each look reads the messages that are new since the last one."""

    def __init__(self, stream: Stream, root: str) -> None:
        self._stream, self._root = stream, root
        self._parts: dict[Unit, list[Part]] = {}
        self._refusals: dict[Unit, ForeignMessages] = {}

    def read_files(self) -> list[Loaded]:
        """All files that are there now, complete or not. Raises InputUnusable, ServiceUnavailable."""
        before = self._parts
        units = self._stream.everything(self._root)
        self._parts = {unit: before[unit] if unit in before else self._look_through(unit) for unit in units}
        self._refusals = {unit: found for unit, found in self._refusals.items() if unit in self._parts}
        files: dict[str, list[Part]] = defaultdict(list)
        for part in chain.from_iterable(self._parts.values()):
            files[part.piece.file].append(part)
        return [self._loaded(parts) for parts in files.values()]

    @property
    def refusals(self) -> list[ForeignMessages]:
        """What was refused of the messages that are there now."""
        return list(self._refusals.values())

    def forget(self, units: set[Unit]) -> None:
        """Let the stream forget units, after their refused messages are stored."""
        store = storage(self._root)
        for unit in units & self._refusals.keys():
            for found in self._messages(unit):
                if isinstance(found, ForeignMessage):
                    store.put_new(f"{REFUSED}/{digest(found.message)}", found.message)
        store.flush()
        self._stream.forget(units, self._root)

    def _look_through(self, unit: Unit) -> list[Part]:
        parts: dict[str, list[Part]] = defaultdict(list)
        refusals: ForeignMessages | None = None
        for piece in self._messages(unit):
            if isinstance(piece, ForeignMessage):
                refusals = refusals or ForeignMessages(unit, 0, piece._replace(message=b""))
                refusals = refusals._replace(messages=refusals.messages + 1)
                continue
            parts_of_file = parts[piece.file]
            if parts_of_file and _goes_on(parts_of_file[-1], piece):
                last = parts_of_file[-1]
                size = last.size if piece.size is None else piece.size
                before = min(last.headers_before, _headers_before(piece))
                parts_of_file[-1] = Part(last.piece, size, last.span._replace(end=piece.end), before)
            else:
                span = Span(piece.offset, piece.end, unit)
                parts_of_file.append(Part(piece._replace(data=b""), piece.size, span, _headers_before(piece)))
        if refusals:
            Metrics.counter("source", "pieces_refused").inc(refusals.messages)
            _log.warning("%s; refused, the messages behind it are read", refusals, extra=unit.about)
            self._refusals[unit] = refusals
        return [part for parts_of_file in parts.values() for part in parts_of_file]

    def _messages(self, unit: Unit) -> Iterator[Piece | ForeignMessage]:
        try:
            yield from messages_in(unit, self._stream, self._root)
        except FileNotFoundError:  # forgotten by another run since it was listed
            return

    def _loaded(self, parts: list[Part]) -> Loaded:
        piece = parts[0].piece
        path = f"{self._stream.path}/{piece.name}"
        sizes = {part.size for part in parts if part.size is not None}
        size = min(sizes, default=None)
        spans = sorted((part.span for part in parts), key=itemgetter(0, 1))
        if len(sizes) > 1 or {part.piece.header for part in parts} != {piece.header}:
            raise contradiction(path, "disagree about its length or its first line")
        if size is not None and max(span.end for span in spans) > size:
            raise contradiction(path, f"are behind byte {size}, where it ends by the last piece")
        headers = size is not None and any(part.headers_before < size for part in parts)
        return Loaded(piece.file, path, piece.header, size, tuple(spans), headers)


def contradiction(path: str, what: str) -> InputUnusable:
    """The error that pieces of one file contradict each other."""
    return InputUnusable(
        f"{path}: pieces of it {what}. The file was changed and its modification time restored, or another program "
        "writes to the topic. Touch the file and load it to another topic"
    )


def _headers_before(piece: Piece) -> int:
    """:attr:`Part.headers_before` of one piece. A line that no piece holds whole begins in one that ends inside it."""
    if may_hold_header(piece.data):
        return 0
    return MAX_FILE_BYTES if piece.data.endswith(b"\n") or not piece.data else piece.end


def _goes_on(part: Part, piece: Piece) -> bool:
    """Whether a piece is the next one of a part, and does not contradict it."""
    same = part.piece.header == piece.header and (piece.size is None or part.size in (None, piece.size))
    return same and part.span.end == piece.offset


def remember(files: Iterable[Loaded], root: str) -> None:
    """Write down that all rows of these files are in the lake."""
    store = storage(root)
    done = {file.fingerprint for file in files}
    for fingerprint in done:
        store.put(f"{REMEMBERED}/{fingerprint}", b"")
    for info in store.list(CELLS) if done else ():
        if info.base_name.rpartition("-")[0] in done:
            store.delete(f"{CELLS}/{info.base_name}")


def note(cell: LoadedCell, unit: Unit | None, root: str) -> None:
    """Write down the unit of a cell, for :func:`landed`; None where no record begins in it."""
    storage(root).put(f"{CELLS}/{cell.key}", note_of(cell.key, unit.name if unit else ""))


def landed(cells: Iterable[LoadedCell], root: str) -> set[str]:
    """The keys of those of the cells whose rows are in the lake, as far as readers have written their units down."""
    store = storage(root)
    noted = {info.base_name for info in store.list(CELLS)}
    found = set()
    for cell in cells:
        if cell.key in noted:
            name = noted_unit(store.read(f"{CELLS}/{cell.key}"), cell.key)
            if name == "" or (name and read_back(root, cell.cell.source, name)):
                found.add(cell.key)
    return found


def spent(files: list[Loaded], awaited: list[Loaded], refusals: Iterable[ForeignMessages] = ()) -> set[Unit]:
    """The units of a stream that are not needed when the complete files are in the lake.

    Args:
        awaited: the files that are not complete; what is behind a unit of theirs in its path stays too.
        refusals: what was refused is not needed either.
    """
    kept = {unit for file in awaited for unit in file.units}
    first = {unit.path: unit.start for unit in sorted(kept, key=attrgetter("path", "start"), reverse=True)}
    units = {unit for file in files for unit in file.units} | {found.unit for found in refusals}
    return {unit for unit in units - kept if unit.start <= first.get(unit.path, unit.start)}


def messages_in(unit: Unit, stream: Stream, root: str) -> Iterator[Piece | ForeignMessage]:
    """The pieces in a unit of the stream, and the messages that are none."""
    for batch in stream.payloads(unit, root):
        for payload, offset in zip(batch["payload"], batch["offset"], strict=True):
            message = payload.as_py()
            try:
                yield decode(message)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with it: the others are read
                yield ForeignMessage(offset.as_py(), message, str(error)[:200])


def pieces_in(unit: Unit, stream: Stream, root: str) -> Iterator[Piece]:
    """The pieces in a unit of the stream."""
    return (found for found in messages_in(unit, stream, root) if isinstance(found, Piece))
