"""What every input of a run implements, files and topics alike: plan the splits, read them, settle what is left.

A bounded run calls :meth:`Input.plan`, reads the splits in one pipeline or several, and calls :meth:`Input.finish` when
all of them are committed. An unbounded run reads :meth:`Input.follow`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam

from schemas.lake import Source
from sources.reading import Read, ReadSplit


class Split(NamedTuple):
    """A part of an input that is read in one bundle."""

    place: Any
    """A cell of a file, a whole packed file, or a unit of a stream: what :meth:`Input.reader` takes."""
    size: int
    """In bytes, as far as it is known before the split is read."""


class Preview(NamedTuple):
    """What a dry run prints of an input."""

    lines: list[str]
    splits: int = 0
    """How many there are of files; those of a topic are not known without planning them."""
    size: int = 0
    """Bytes of these splits."""


class Input(ABC):
    """One input of a run: files, or a topic."""

    source: Source

    @abstractmethod
    def plan(self, root: str) -> list[Split]:
        """What there is to read now and is not known to be in the lake at ``root``.

        Raises InputUnusable, NotPermitted, ServiceUnavailable.
        """

    @abstractmethod
    def reader(self, root: str) -> ReadSplit:
        """Reads the place of a split on a worker, so it is pickled."""

    @abstractmethod
    def follow(self, root: str, skew: float) -> beam.PTransform:
        """``batches`` and ``tallies`` of an unbounded run; files are planned now, and end.

        Args:
            skew: seconds by which the watermark stays behind the publish times.

        Raises InputUnusable, NotPermitted, ServiceUnavailable.
        """

    @abstractmethod
    def preview(self, root: str) -> Preview:
        """What a run would read; nothing is written, planned or acknowledged."""

    def is_in_lake(self, splits: Iterable[Split], root: str) -> bool:
        """Whether the lake has units of this topic already; of files, where each is an input of its own, False."""
        return False

    def finish(self, root: str) -> None:  # noqa: B027  # not every input leaves something
        """Remove what was needed only until all splits of :meth:`plan` were committed. Raises NotReconciled."""

    def read(self, places: Iterable[Any], root: str) -> beam.PTransform:
        """Places of planned splits -> ``batches`` of their units, and ``tallies``."""
        return ReadPlanned(places, self.reader(root))


class ReadPlanned(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Places of splits that are planned already -> ``batches`` and ``tallies``."""

    def __init__(self, places: Iterable[Any], read: ReadSplit) -> None:
        super().__init__()
        self._places = list(places)
        self._read = read

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        return pbegin | "Plan" >> beam.Create(self._places, reshuffle=False) | "Read" >> Read(self._read)
