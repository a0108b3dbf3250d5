"""The loader's metrics."""

from pathlib import Path

import pytest

from apps.loader.command import main
from apps.loader.metrics import METRICS, LoaderMetrics, pages
from apps.loader.progress import Progress
from tests.apps.loader.loads import HEADER, ROWS
from tests.metrics.support import check_page, get, samples


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def values(progress: Progress) -> list[float]:
    """In the order of METRICS."""
    return [samples(LoaderMetrics(progress), metric.shown)[()] for metric in METRICS]


def test_files_bytes_and_the_time_since_the_last_acknowledgement() -> None:
    clock = Clock()
    progress = Progress(clock)
    check_page(LoaderMetrics(progress), METRICS)
    progress.begin(2)
    progress.sent += 500
    clock.now += 30
    assert values(progress) == [2, 0, 500, 0, 30, 1]
    progress.advance(400, 0.25)
    clock.now += 5
    progress.advance(400, 0.5)  # more was read, and nothing new acknowledged
    assert values(progress) == [2, 0, 500, 0.5, 5, 1]
    progress.file_done()
    assert values(progress) == [1, 1, 500, 0, 0, 1]


def test_it_is_not_ready_while_the_target_does_not_answer() -> None:
    progress = Progress()
    progress.trouble = "broker:9092 does not answer, trying again"
    assert values(progress)[-1] == 0
    assert get(pages(progress), "/readyz") == ("503 Service Unavailable", f"{progress.trouble}\n")
    assert get(pages(progress), "/healthz") == ("200 OK", "ok\n")
    progress.advance(1, 0.1)
    assert get(pages(progress), "/readyz") == ("200 OK", "ok\n")


def test_a_load_reports_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress()
    for module in ("command", "load"):
        monkeypatch.setattr(f"apps.loader.{module}.progress", progress)
    names = [tmp_path / f"{n}.csv" for n in range(2)]
    for n, name in enumerate(names):
        name.write_bytes(HEADER + (n + 1) * ROWS)
    flags = ["--to", f"file:{tmp_path / 'there'}", "--journal", str(tmp_path / "journal"), "--quiet"]
    assert main([*map(str, names), *flags]) == 0
    size = sum(name.stat().st_size for name in names)
    assert values(progress)[:4] == [0, 2, size, 0]
