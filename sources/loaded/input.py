"""The files that the loader published to a topic, as one input of a run."""

import logging
from collections.abc import Iterable
from functools import partial

import apache_beam as beam

from schemas.errors import InputUnusable, NotReconciled
from sources.files.read import Format
from sources.input import Input, Preview, Split
from sources.loaded.file import cells_of, read_loaded
from sources.loaded.follow import TICK_SECONDS, LoadedTicks
from sources.loaded.notes import remembered
from sources.loaded.topic import Loaded, LoadedCell, LoadedTopic, landed, remember, spent
from sources.reading import ReadSplit
from sources.streams.base import Stream
from sources.ticks import FollowTicks
from sources.units import Unit
from terminal.logs import about

_log = logging.getLogger(__name__)


class LoadedFiles(Input):
    """Files in a topic. A bounded run reads those that are complete now, and lets the topic forget them at its end."""

    def __init__(self, stream: Stream, form: Format) -> None:
        self.source = form.source
        self._stream, self._form = stream, form
        self._topic: LoadedTopic | None = None
        self._files: list[Loaded] = []
        self._cells: list[LoadedCell] = []
        self._spent: set[Unit] = set()

    def plan(self, root: str) -> list[Split]:
        self._topic = LoadedTopic(self._stream, root)
        files, before = self._topic.read_files(), remembered(root)
        refusals = self._topic.refusals
        if refusals and not files and not before:  # a topic of other messages, not one with some foreign ones
            raise InputUnusable(f"{refusals[0]}; give --history a topic of the loader's alone")
        self._files = [file for file in files if file.is_complete]
        # A stream forgets whole units, so a part of a file that was read may be left.
        awaited = [file for file in files if not file.is_complete and file.fingerprint not in before]
        for file in awaited:
            text = "%s: %d bytes are there, and its end is not; a later run reads it"
            _log.warning(text, file.path, file.there, extra=about(self.source, offset=file.there))
        self._cells = [cell for file in self._files for cell in cells_of(file, self._stream, self._form, root)]
        self._spent = spent(files, awaited, refusals)
        return [Split(loaded, loaded.cell.end - loaded.cell.start) for loaded in self._cells]

    def reader(self, root: str) -> ReadSplit:
        return partial(read_loaded, stream=self._stream, form=self._form, root=root)

    def follow(self, root: str, skew: float) -> beam.PTransform:
        self._stream.check(root)
        return FollowTicks(partial(LoadedTicks, self._stream, self._form, root), TICK_SECONDS, self.reader(root))

    def preview(self, root: str) -> Preview:
        return self._stream.preview(root)

    def is_in_lake(self, splits: Iterable[Split], root: str) -> bool:
        return bool(remembered(root))

    def finish(self, root: str) -> None:
        there, before = landed(self._cells, root), remembered(root)
        missing = {c.file.path for c in self._cells if c.key not in there and c.file.fingerprint not in before}
        if missing:
            raise NotReconciled(
                f"{', '.join(sorted(missing))}: the run has ended, and the ledger does not have all units of it; the "
                "topic keeps the messages: run again"
            )
        remember(self._files, root)
        if self._topic and self._spent:
            self._topic.forget(self._spent)
