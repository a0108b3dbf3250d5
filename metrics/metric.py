"""What a metric is: its name and unit as Prometheus' conventions have them. Imports nothing heavy."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """The types of Prometheus that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One of them."""

    name: str
    """Of a counter without ``_total``, which the client library appends."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name in PromQL; of a histogram without ``_bucket``, ``_sum`` and ``_count``."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def table(metrics: Iterable[Metric]) -> Iterator[str]:
    """The lines of a table of docs/metrics.md."""
    yield "| metric | type | labels | |"
    yield "|---|---|---|---|"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.shown}` | {metric.kind} | {labels} | {metric.help} |"
