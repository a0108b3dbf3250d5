"""The branch of the graph that watches the health of drones."""

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.window import GlobalWindows

from transforms.alerts.channels import Target
from transforms.health.land import LandEvents
from transforms.health.recall import Recall
from transforms.health.watch import Sample, WatchDrones


class WatchHealth(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Rows of drones, and pictures where the run reads them -> events in the topics of alerts and in ``drone_events``.

    Args:
        root: the lake.
        name: of the input of drones, by which the lake remembers what was seen of it.
        targets: the events go to those of alerts that are topics.
        live: the file of the live statistics, which gets the last message of each drone.
        with_pictures: whether the run reads pictures: without, none is missing.
    """

    def __init__(self, root: str, name: str, targets: Sequence[Target], live: str | None, with_pictures: bool) -> None:
        super().__init__()
        self._root, self._name, self._with_pictures = root, name, with_pictures
        self._land = LandEvents(root, name, targets, live)

    def expand(self, inputs: Any) -> beam.PCollection:
        rows, *pictures = inputs
        pipeline = rows.pipeline
        bounded = not pipeline.options.view_as(StandardOptions).streaming
        samples = [
            pipeline | "Remember" >> Recall(self._root, self._name, bounded, self._with_pictures),
            rows | "Sample drones" >> beam.ParDo(Sample(self._with_pictures)).with_output_types(tuple[int, bytes]),
            *(
                some | "Sample pictures" >> beam.ParDo(Sample(of_pictures=True)).with_output_types(tuple[int, bytes])
                for some in pictures
            ),
        ]
        out = [some | f"Out of windows {n}" >> beam.WindowInto(GlobalWindows()) for n, some in enumerate(samples)]
        found = out | "All samples" >> beam.Flatten() | "Watch" >> WatchDrones(bounded)
        return found | "Land" >> self._land
