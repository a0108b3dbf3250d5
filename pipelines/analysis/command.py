"""``prestacop analyze``: compute the answers to the city's questions from the lake, print them, write the report."""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from tempfile import TemporaryDirectory

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions

from lake import filled_lake, lake
from lake.changes import reading
from lake.storage import storage
from pipelines.analysis import flags
from pipelines.analysis.cross_unit import VIOLATIONS
from pipelines.analysis.explore import NO_SHAPES, read_shapes
from pipelines.analysis.fines import fines, read_rates
from pipelines.analysis.graph import RESULT, questions
from pipelines.analysis.html_report import check_report, write_report
from pipelines.analysis.results import Answers
from pipelines.analysis.text_report import lines
from pipelines.cli.app import progress_bar, run
from pipelines.cli.runner import beam_options
from schemas.errors import OutputUnusable
from schemas.lake import Dataset
from sources.progress import progress


def answers(lake_root: str, options: PipelineOptions, place: str | None = None, show_plates: bool = False) -> Answers:
    """Compute the answers; the lake is only read.

    Args:
        lake_root: a directory, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``.
        options: Beam's.
        place: a directory or URL of a bucket for the file :data:`pipelines.analysis.graph.RESULT`; without it a
            temporary directory of this machine.
        show_plates: whether the plates of the vehicles with most violations are whole, not masked.

    Raises:
        InputUnusable: there is no lake.
        OutputUnusable: the workers do not reach the place, or it cannot be written.
        ServiceUnavailable: the storage does not answer.
    """
    lk = filled_lake(lake_root)
    # Violations are read twice: to count them, and for streets and vehicles.
    files = lk.entries(*VIOLATIONS, *VIOLATIONS, Dataset.DEAD_LETTERS)
    progress.planned(sum(file.bytes for file in files))
    with TemporaryDirectory() if place is None else nullcontext(place) as reached:
        with beam.Pipeline(options=options) as pipeline:
            questions(pipeline, lk, reached, show_plates)
        try:
            return msgspec.json.decode(storage(reached).read(RESULT), type=Answers)
        except FileNotFoundError as error:
            raise OutputUnusable(
                f"{reached}: the runner's workers cannot write there; give --answers a place that they and this "
                "machine can reach, such as s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            ) from error


def print_answers(found: Answers) -> None:
    """Print the answers as text."""
    print("\n".join(lines(found)))


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.analyze()
    arguments, rest = parser.parse_known_args(argv)
    options = beam_options(parser, rest)
    run(lambda: _command(arguments, options), "The lake was only read; run it again.")


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    rates = read_rates(arguments.codes) if arguments.codes else None
    shapes = read_shapes(arguments.shapes) if arguments.shapes else NO_SHAPES
    check_report(arguments.report)
    if arguments.answers:
        storage(arguments.answers).probe()
    with reading(arguments.lake, "analysis"):
        with progress_bar("reading", arguments.quiet):
            found = answers(arguments.lake, options, arguments.answers, arguments.show_plates)
        if rates is not None:
            found = msgspec.structs.replace(found, fines=fines(lake(arguments.lake), rates))
    print_answers(found)
    write_report(found, arguments.report, shapes)
    print(f"\nreport  {arguments.report}")
    return 0
