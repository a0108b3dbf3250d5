"""A topic of the loader in an unbounded run: each file is read when it is complete, and then forgotten.

The planner looks for files that have become complete, and for those whose cells are all committed. It has no state that
must survive: where it begins anew it gives out all files again, and the readers skip the units that the ledger has.
"""

from collections.abc import Mapping
from types import MappingProxyType

from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from lake.format import check
from sources.files.read import Format
from sources.loaded.file import cells_of
from sources.loaded.notes import remembered
from sources.loaded.topic import Loaded, LoadedCell, LoadedTopic, landed, remember, spent
from sources.streams.base import Stream
from sources.ticks import Tick

TICK_SECONDS = 5.0
"""Between two looks: a file takes longer to arrive."""


class LoadedTicks:
    """The :class:`~sources.ticks.TickPlanner` of a topic of files: gives out the cells of each complete file once."""

    def __init__(self, stream: Stream, form: Format, root: str) -> None:
        check(root)
        self._stream, self._form, self._root = stream, form, root
        self._begin()

    def _begin(self) -> None:
        self._topic = LoadedTopic(self._stream, self._root)
        self._cells: Mapping[Loaded, Mapping[str, LoadedCell]] = MappingProxyType({})
        """The cells that were given out, by their keys, of the files that are there."""
        self._landed: frozenset[str] = frozenset()
        """Those of them whose rows are in the lake."""

    def tick(self, is_resumed: bool) -> Tick:
        now = Timestamp.now()
        if is_resumed:
            self._begin()
        return Tick([TimestampedValue(cell, now) for cell in self._new_cells()], now)

    def _new_cells(self) -> list[LoadedCell]:
        """The cells that are new; files whose cells are all in the lake are forgotten."""
        files = self._topic.read_files()
        cells = {file: self._cells.get(file) or self._cells_of(file) for file in files if file.is_complete}
        there = {key: cell for of_file in cells.values() for key, cell in of_file.items()}
        given = {key for of_file in self._cells.values() for key in of_file}
        outstanding = [cell for key, cell in there.items() if key in given - self._landed]
        done = self._landed & there.keys() | (landed(outstanding, self._root) if outstanding else set())
        self._forget(files, {file for file, of_file in cells.items() if of_file.keys() <= done})
        self._cells, self._landed = cells, done
        return [cell for key, cell in there.items() if key not in given]

    def _cells_of(self, file: Loaded) -> dict[str, LoadedCell]:
        return {cell.key: cell for cell in cells_of(file, self._stream, self._form, self._root)}

    def _forget(self, files: list[Loaded], done: set[Loaded]) -> None:
        """Let the stream forget the units that only these files need, which are in the lake."""
        if not done:
            return
        before = remembered(self._root)
        awaited = [f for f in files if f not in done and (f.is_complete or f.fingerprint not in before)]
        if units := spent(files, awaited, self._topic.refusals):
            remember(done, self._root)
            self._topic.forget(units)
