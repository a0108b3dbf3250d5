"""Parts that were looked at -> metrics, at the time of a scrape: what is an age grows by itself."""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.registry import Collector

from messaging.urls import KafkaUrl
from metrics.lake import names
from metrics.lake.latency import BOUNDS, Histogram
from metrics.lake.parts import LakePart, Part, TopicPart
from metrics.lake.totals import Totals
from metrics.metric import Metric
from metrics.server import Family, Samples, family, histograms
from schemas.errors import PrestaCopError
from schemas.lake import Source


class Metrics(Collector):
    """The metrics of a lake and of topics.

    Args:
        stuck_after: a pipeline is stuck where messages wait and nothing is committed for so many seconds.
    """

    def __init__(
        self,
        lake: LakePart,
        topics: Iterable[TopicPart],
        clock: Callable[[], float] = time.time,
        stuck_after: float = 300.0,
    ) -> None:
        self._stuck_after = stuck_after
        self._lake = lake
        self._topics = list(topics)
        self._clock = clock

    @property
    def parts(self) -> list[Part]:
        """All of them."""
        return [self._lake, *self._topics]

    def look(self) -> PrestaCopError | None:
        """Look at all of them; gives the first error that :meth:`Part.attempt` gives."""
        return next((error for part in self.parts if (error := part.attempt())), None)

    def stuck(self) -> list[str]:
        """The sources whose pipeline is stuck, a line each."""
        return [
            f"{topic.source}: nothing was committed for {topic.stall.seconds:.0f} s, and "
            f"{sum(topic.behind().values()):,} messages wait"
            for topic in self._topics
            if self._is_stuck(topic)
        ]

    def _is_stuck(self, topic: TopicPart) -> bool:
        return topic.stall.seconds >= self._stuck_after

    def old_looks(self) -> list[str]:
        """What was not looked at recently, a line each."""
        return [_old(part.name, part.age) for part in self.parts if not part.is_fresh]

    def collect(self) -> Iterator[Family]:
        """Called for a scrape."""
        parts = [(part, (part.name,), part.age) for part in self.parts]
        looked = [(part, label, age) for part, label, age in parts if age is not None]
        yield family(names.UP, [(label, float(part.is_fresh)) for part, label, _ in parts])
        yield family(names.LOOK_AGE, [(label, age) for _, label, age in looked])
        yield family(names.LOOK_DURATION, [(label, part.duration) for part, label, _ in looked])
        yield family(names.LOOKS, [(label, part.looks) for part, label, _ in parts])
        yield family(names.FAILURES, [(label, part.failures) for part, label, _ in parts])
        if self._lake.age is not None:
            yield from self._of_lake(self._lake.totals)

    def _of_lake(self, totals: Totals) -> Iterator[Family]:
        now, watch = self._clock(), self._lake.watch
        yield family(names.UNITS, _by_source(totals.units))
        yield family(names.ROWS_READ, _by_source(totals.read))
        yield family(names.ROWS, totals.rows.items())
        yield family(names.MOVED, totals.moved.items())
        yield family(names.LETTERS, totals.letters.items())
        committed = {source: newest.at for source, newest in totals.newest.items()}
        yield family(names.COMMIT_AGE, _by_source(_ages(now, committed)))
        yield family(names.WATERMARK, _by_source(_ages(now, totals.published)))
        behind = (
            ((topic.source, str(partition)), messages)
            for topic in self._topics
            for partition, messages in topic.behind().items()
        )
        yield family(names.BEHIND, behind)
        yield family(names.TAIL, [((), watch.tail)])
        yield family(names.CHANGE, [((), watch.number)])
        yield family(names.STUCK, [((topic.source,), self._is_stuck(topic)) for topic in self._topics])
        yield _latencies(names.TO_COMMIT, totals.latencies.to_commit)
        yield _latencies(names.TO_PUBLICATION, totals.latencies.to_publication)
        at = totals.publication
        yield family(names.PUBLICATION_AGE, [] if at is None else [((), max(now - at, 0.0))])


def metrics_of(given: argparse.Namespace, every: float, group: str | None = None) -> Metrics:
    """The metrics of the lake and of the Kafka topics that the flags of a command name.

    Args:
        every: seconds between two looks.
        group: the consumer group that gets the committed offsets.

    Raises OptionsRefused.
    """
    lake = LakePart(given.lake, every)
    urls = ((given.messages, Source.DRONES), (given.images, Source.IMAGES))
    topics = [TopicPart(url, source, lake, group, every) for url, source in urls if isinstance(url, KafkaUrl)]
    return Metrics(lake, topics, stuck_after=given.stuck_after)


def _ages(now: float, times: Mapping[str, float]) -> dict[str, float]:
    return {name: max(now - at, 0.0) for name, at in times.items()}


def _by_source(values: Mapping[str, float]) -> Samples:
    return [((source,), value) for source, value in values.items()]


def _old(name: str, age: float | None) -> str:
    return f"no look at {name} has succeeded yet" if age is None else f"the last look at {name} is {age:.0f} s old"


def _latencies(metric: Metric, found: Mapping[str, Histogram]) -> Family:
    return histograms(metric, BOUNDS, [((source,), each.counts.tolist(), each.sum) for source, each in found.items()])
