"""From planned splits to the batches of their units, whatever the input."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from lake.memory import keep_memory, tidy
from sources import unit_coder  # noqa: F401  # registers it
from sources.units import BATCHES, TALLIES, UnitBatch, UnitBlock, UnitItem

ReadSplit = Callable[[Any], Iterator[UnitItem]]
"""Gives the batches of the units in a split that the lake does not have yet; after each unit the number of its rows."""

_READING = threading.BoundedSemaphore(os.cpu_count() or 1)
"""At most as many splits at once as there are cores. A runner may give a process more bundles than that; then each call
into pyarrow, which releases the GIL, waits for all other threads (5,000 messages/s with eight, 100,000 with two)."""


class _Read(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, read: ReadSplit) -> None:
        self._read = read
        self._rows = Metrics.counter("source", "rows_in")

    def setup(self) -> None:
        keep_memory()

    def process(self, place: Any) -> Iterator[Any]:
        with _READING:
            for item in self._read(place):
                if isinstance(item, UnitBatch | UnitBlock):
                    yield item
                else:
                    self._rows.inc(item[1].rows)
                    yield beam.pvalue.TaggedOutput(TALLIES, item)
        tidy()


class Read(beam.PTransform):  # type: ignore[misc]
    """Places of planned splits -> ``batches`` of their units, and ``tallies``; each is read in one bundle."""

    def __init__(self, read: ReadSplit) -> None:
        super().__init__()
        self._read = read

    def expand(self, places: beam.PCollection) -> Any:
        return (
            places
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self._read)).with_outputs(TALLIES, main=BATCHES)
        )
