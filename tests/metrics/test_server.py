"""The pages and their server."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.registry import Collector

from metrics.metric import Kind, Metric
from metrics.server import Family, Pages, family, serving
from schemas.errors import ServiceUnavailable
from tests.metrics.support import check_page, get

LEVEL = Metric("some_level_meters", Kind.GAUGE, "Of the sea", ("where",))
DROPS = Metric("some_drops", Kind.COUNTER, "Of rain")


class Sea(Collector):
    """Two metrics."""

    def collect(self) -> Iterator[Family]:
        yield family(LEVEL, [(("there",), 2), (("here",), 1)])
        yield family(DROPS, [((), 3)])


def test_the_page_has_the_collectors_metrics_and_those_of_the_process() -> None:
    check_page(Sea(), (LEVEL, DROPS))
    text = get(Pages(Sea()), "/metrics")[1]
    assert 'some_level_meters{where="here"} 1.0\n' in text
    assert "some_drops_total 3.0\n" in text
    assert "process_resident_memory_bytes" in text


def test_each_page_of_health_is_503_with_its_reasons() -> None:
    faults: list[str] = []
    pages = Pages(Sea(), lambda: faults, lambda: ["the topic\nis away"])
    assert get(pages, "/healthz") == ("200 OK", "ok\n")
    assert get(pages, "/readyz") == ("503 Service Unavailable", "the topic is away\n")
    faults += ["a thread has ended", "another, too"]
    assert get(pages, "/healthz") == ("503 Service Unavailable", "a thread has ended\nanother, too\n")


def test_another_page_is_not_there() -> None:
    status, text = get(Pages(Sea()), "/")
    assert status == "404 Not Found"
    assert "/metrics" in text


@pytest.mark.embedded
def test_it_is_served_and_a_port_that_is_taken_is_an_error_that_names_the_flag() -> None:
    faults: list[str] = []
    pages = Pages(Sea(), lambda: faults)
    with serving(pages, "127.0.0.1", 0, "--metrics-port") as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as page:
            assert page.read() == b"ok\n"
        faults.append("a thread has ended")
        with pytest.raises(urllib.error.HTTPError) as refused_page:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60)
        with refused_page.value as page:
            assert page.read() == b"a thread has ended\n"
        refused = pytest.raises(ServiceUnavailable, match="name another port with --metrics-port")
        with refused, serving(pages, "127.0.0.1", port, "--metrics-port"):
            pass


@pytest.mark.embedded
def test_without_a_port_the_client_library_is_not_imported() -> None:
    code = "import sys, apps.console.command, apps.loader.command, pipelines.violations.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prometheus_client" not in done.stdout.split()
