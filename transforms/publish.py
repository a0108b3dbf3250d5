"""Publish what is committed every few seconds, while an unbounded run reads on."""

import logging
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.utils.timestamp import Timestamp

from lake.publication import publish
from schemas.errors import ServiceUnavailable
from sources.ticks import PlanTicks, Tick, begin_streaming

_LOG = logging.getLogger(__name__)


class _Publisher:
    """A :class:`~sources.ticks.TickPlanner` that plans nothing."""

    def __init__(self, root: str) -> None:
        self._root = root

    def tick(self, is_resumed: bool) -> Tick:
        try:
            publish(self._root)
        except ServiceUnavailable as error:
            # Nothing is lost: the units are committed, and the next publication has them.
            _LOG.warning("%s; the tables are published later", error)
        return Tick([], Timestamp.now())  # at the end of time a runner would forget the element


class PublishEvery(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Publishes the tables of a lake every so many seconds; gives nothing out."""

    def __init__(self, root: str, seconds: float) -> None:
        super().__init__()
        self._ticks = PlanTicks(partial(_Publisher, root), seconds)

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        begin_streaming(pbegin)
        return pbegin | beam.Impulse() | "Publish" >> beam.ParDo(self._ticks)
