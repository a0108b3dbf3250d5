"""A topic of the loader without end: each file is read when it is there to its end.

One endless element looks for files that have become complete. It has no state that must survive: where it begins anew
it gives out all files again, and the readers pass over the units that the ledger has.
"""

import threading
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from sources.files import Format
from sources.loaded import LoadedCell, LoadedTopic
from sources.pieced import read_loaded
from sources.reading import Read
from sources.streams import Stream, Ticks

LOOK_SECONDS = 5.0
"""Between two looks: a file takes longer to come."""


class FollowLoaded(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """The files in a topic, also those to come -> ``batches`` of their units, and ``tallies``."""

    def __init__(self, stream: Stream, form: Format, root: str) -> None:
        super().__init__()
        self._find = _Find(stream, form, root)
        self._read = partial(read_loaded, stream=stream, form=form, root=root)

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        return pbegin | beam.Impulse() | "Plan" >> beam.ParDo(self._find) | "Cells" >> Read(self._read)


class _Find(beam.DoFn):  # type: ignore[misc]
    """Gives out the cells of each complete file once, as long as one tick follows the other in this process."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _topics: ClassVar[dict[str, tuple[LoadedTopic, set[str], int]]] = {}
    """What was found, the fingerprints of the files that were given out, and the next tick."""

    def __init__(self, stream: Stream, form: Format, root: str) -> None:
        self._stream, self._form, self._root = stream, form, root
        self._id = uuid.uuid4().hex  # what was found outlives the bundle, and not the pipeline

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(Ticks()),  # noqa: B008  # how Beam injects it
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[Any]:
        tick = tracker.current_restriction().start
        if not tracker.try_claim(tick):
            return
        now = Timestamp.now()
        for cell in self._tick(tick):
            yield TimestampedValue(cell, now)
        watermark.set_watermark(now)
        tracker.defer_remainder(Duration(seconds=LOOK_SECONDS))

    def _tick(self, tick: int) -> list[LoadedCell]:
        with self._lock:
            topic, given, expected = self._topics.pop(self._id, (None, set(), -1))
            if topic is None or tick != expected:
                topic, given = LoadedTopic(self._stream, self._root), set()
            new = [file for file in topic.look() if file.is_complete and file.fingerprint not in given]
            self._topics[self._id] = topic, given | {file.fingerprint for file in new}, tick + 1
        return [cell for file in new for cell in file.cells(self._form)]
