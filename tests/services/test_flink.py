"""What Beam's Flink runner gets wrong unless it is told otherwise."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from pipelines.command import beam_options
from runners.flink.submit import on_flink
from tests.services.test_clusters import running

pytestmark = pytest.mark.services

FLAGS = ("--checkpointing_interval=500", "--parallelism=1")


class _Slow(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    """Its bundle is still open when the last watermark, and then a checkpoint, comes."""

    def process(self, element: str) -> Iterator[tuple[str, str]]:
        time.sleep(4)
        yield element, "seen"


def _note(element: tuple[str, str]) -> None:
    Path(element[0]).write_text(element[1])


def test_what_a_bundle_gives_during_a_checkpoint_goes_on(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with running("flink", tmp_path / "flink") as cluster:
        options = beam_options(argparse.ArgumentParser(), FLAGS, streaming=True)
        with on_flink(options, cluster.services) as there:
            pipeline = beam.Pipeline(options=there)
            _ = (
                pipeline
                | beam.Create([str(seen)], reshuffle=False)
                | beam.ParDo(_Slow())
                | beam.Reshuffle()
                | beam.Map(_note)
            )
            job = pipeline.run()
            deadline = time.monotonic() + 60
            while not seen.exists() and time.monotonic() < deadline:
                time.sleep(0.5)
            job.cancel()
    assert seen.exists()
