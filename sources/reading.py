"""From planned pieces to the batches of their units, whatever the source."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from lake.memory import keep_memory, tidy
from sources.units import BATCHES, TALLIES, UnitBatch, UnitTally

ReadPiece = Callable[[Any], Iterator[UnitBatch | UnitTally]]
"""Gives the batches of the units in a piece of input that the lake does not have yet; after each unit its rows in."""

_AT_ONCE = threading.BoundedSemaphore(os.cpu_count() or 1)
"""A runner may give a process more bundles at once than it has cores; then each call into pyarrow, which lets go of the
interpreter, waits for all the other threads (eight of them: 5,000 messages/s where two make 100,000)."""


@beam.typehints.with_output_types(UnitBatch)
class _Read(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, read: ReadPiece) -> None:
        self._read = read
        self._rows = Metrics.counter("source", "rows_in")

    def setup(self) -> None:
        keep_memory()

    def process(self, piece: Any) -> Iterator[Any]:
        with _AT_ONCE:
            for item in self._read(piece):
                if isinstance(item, UnitBatch):
                    yield item
                else:
                    self._rows.inc(item[1].rows)
                    yield beam.pvalue.TaggedOutput(TALLIES, item)
        tidy()


class Read(beam.PTransform):  # type: ignore[misc]
    """Planned pieces -> ``batches`` of their units, and ``tallies``; each piece is read in one bundle."""

    def __init__(self, read: ReadPiece) -> None:
        super().__init__()
        self._read = read

    def expand(self, pieces: beam.PCollection) -> Any:
        return (
            pieces
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self._read)).with_outputs(TALLIES, main=BATCHES)
        )
