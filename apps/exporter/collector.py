"""Parts that were looked at -> metrics, at the time of a scrape: what is an age grows by itself."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.registry import Collector

from metrics.server import Family, Samples, family

from . import metrics
from .parts import LakePart, Part, TopicPart
from .totals import Totals


class Metrics(Collector):
    """The metrics of a lake and of topics."""

    def __init__(self, lake: LakePart, topics: Iterable[TopicPart], clock: Callable[[], float] = time.time) -> None:
        self._lake = lake
        self._topics = list(topics)
        self._clock = clock

    @property
    def parts(self) -> list[Part]:
        """All of them."""
        return [self._lake, *self._topics]

    def old_looks(self) -> list[str]:
        """What was not looked at of late, a line each."""
        return [_old(part.name, part.age) for part in self.parts if not part.is_fresh]

    def collect(self) -> Iterator[Family]:
        """Called for a scrape."""
        parts = [(part, (part.name,), part.age) for part in self.parts]
        looked = [(part, label, age) for part, label, age in parts if age is not None]
        yield family(metrics.UP, [(label, float(part.is_fresh)) for part, label, _ in parts])
        yield family(metrics.LOOK_AGE, [(label, age) for _, label, age in looked])
        yield family(metrics.LOOK_DURATION, [(label, part.duration) for part, label, _ in looked])
        yield family(metrics.LOOKS, [(label, part.looks) for part, label, _ in parts])
        yield family(metrics.FAILURES, [(label, part.failures) for part, label, _ in parts])
        if self._lake.age is not None:
            yield from self._of_lake(self._lake.totals)

    def _of_lake(self, totals: Totals) -> Iterator[Family]:
        now, watch = self._clock(), self._lake.watch
        yield family(metrics.UNITS, _by_source(totals.units))
        yield family(metrics.ROWS_READ, _by_source(totals.read))
        yield family(metrics.ROWS, totals.rows.items())
        yield family(metrics.MOVED, totals.moved.items())
        yield family(metrics.LETTERS, totals.letters.items())
        committed = {source: newest.at for source, newest in totals.newest.items()}
        yield family(metrics.COMMIT_AGE, _by_source(_ages(now, committed)))
        yield family(metrics.WATERMARK, _by_source(_ages(now, totals.published)))
        behind = (
            ((topic.source, str(partition)), messages)
            for topic in self._topics
            for partition, messages in topic.behind().items()
        )
        yield family(metrics.BEHIND, behind)
        yield family(metrics.TAIL, [((), watch.tail)])
        yield family(metrics.CHANGE, [((), watch.number)])
        at = totals.publication
        yield family(metrics.PUBLICATION_AGE, [] if at is None else [((), max(now - at, 0.0))])


def _ages(now: float, times: Mapping[str, float]) -> dict[str, float]:
    return {name: max(now - at, 0.0) for name, at in times.items()}


def _by_source(values: Mapping[str, float]) -> Samples:
    return [((source,), value) for source, value in values.items()]


def _old(name: str, age: float | None) -> str:
    return f"no look at {name} has succeeded yet" if age is None else f"the last look at {name} is {age:.0f} s old"
