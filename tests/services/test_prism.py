"""What the graph relies on in Prism, and what Prism gets wrong unless it is told otherwise."""

import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import BagRuntimeState, BagStateSpec

from pipelines.cli.prism import on_prism

pytestmark = pytest.mark.services


class _Slow(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    HELD = BagStateSpec("held", VarIntCoder())

    def process(
        self,
        element: tuple[str, int],
        held: BagRuntimeState = beam.DoFn.StateParam(HELD),  # noqa: B008  # how Beam injects state
    ) -> Iterator[int]:
        before = len(list(held.read()))
        time.sleep(0.4)  # Prism looks ten times a second whether a bundle goes on
        held.add(element[1])
        yield before


@pytest.mark.parametrize("experiments", [[], ["some_other"]])
def test_a_slow_step_sees_all_that_was_held_for_its_key(prism: Path, experiments: list[str]) -> None:
    with (
        on_prism(PipelineOptions([], experiments=experiments), str(prism)) as options,
        beam.Pipeline(options=options) as pipeline,
    ):
        seen = (
            pipeline
            | beam.Create([("key", n) for n in range(10)], reshuffle=False)
            | beam.ParDo(_Slow()).with_output_types(int)
        )
        assert_that(seen, equal_to(list(range(10))))
