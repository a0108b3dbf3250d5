"""Collectors and pages of metrics, read without a server."""

import io
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from metrics.metric import Metric
from metrics.server import Pages

Samples = dict[tuple[str, ...], float]


def samples(collector: Collector, name: str) -> Samples:
    """The samples of a metric by the values of its labels."""
    found = (sample for family in collector.collect() for sample in family.samples if sample.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in found}


def get(app: WSGIApplication, path: str) -> tuple[str, str]:
    """The status and the text of a page."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    begun: list[Any] = []
    body = app(environ | {"PATH_INFO": path, "wsgi.input": io.BytesIO()}, lambda *begin: begun.append(begin))  # type: ignore[arg-type]
    return begun[0][0], b"".join(body).decode()


def check_page(collector: Collector, metrics: tuple[Metric, ...]) -> None:
    """The page is one that Prometheus reads, with these metrics and those of the process alone."""
    status, text = get(Pages(collector), "/metrics")
    assert status == "200 OK"
    families = {family.name: family for family in text_string_to_metric_families(text)}
    names = sorted(name for name in families if not name.startswith("process_"))
    assert names == sorted(metric.name for metric in metrics)
    for metric in metrics:
        assert families[metric.name].type == metric.kind, metric.name
        labels = {*metric.labels} | ({"le"} if metric.kind == "histogram" else set())
        assert all(set(s.labels) <= labels for s in families[metric.name].samples), metric.name
