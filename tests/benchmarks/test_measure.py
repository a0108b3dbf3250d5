"""What is published as the memory of a job is the job's own."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import JobFailed, run

MB = 1_000_000


def job(tmp_path: Path, text: str) -> float:
    """The peak memory of a Python program, in MB."""
    return run([sys.executable, "-c", text], tmp_path, tmp_path / "log").peak_mb


@pytest.mark.embedded
def test_the_memory_of_a_job_is_without_that_of_the_benchmark(tmp_path: Path) -> None:
    of_the_benchmark = b"x" * (300 * MB)
    assert job(tmp_path, "pass") < 100
    assert 200 < job(tmp_path, f"b'x' * {200 * MB}") < 300
    assert len(of_the_benchmark) == 300 * MB


@pytest.mark.embedded
def test_a_job_that_fails_is_reported_with_its_code_and_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"(?s)ended with code 7:\nno input"):
        job(tmp_path, "print('no input'); raise SystemExit(7)")
