"""``prestacop analyze``: compute the answers to the city's questions from the lake, print them, write the report."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import apache_beam as beam
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions

from lake import filled_lake, lake
from lake.changes import reading
from lake.storage import storage
from pipelines.analysis.fines import GET_IT, fines, read_rates
from pipelines.analysis.graph import RESULT, questions
from pipelines.analysis.html_report import check_report, write_report
from pipelines.analysis.results import Answers
from pipelines.analysis.text_report import lines
from pipelines.cli.app import beam_options, progress_bar, run
from schemas.errors import OutputUnusable
from schemas.lake import Dataset
from sources.progress import progress

EXAMPLES = """\
examples:
  prestacop analyze --lake data/lake
  prestacop analyze --lake s3://prestacop/lake --report fiscal-2015.html
  prestacop analyze --lake data/lake --codes dof_violation_codes.csv

Beam's own options may follow (--runner, --direct_num_workers, ...). S3 keys and the endpoint come from the AWS
credential chain and AWS_ENDPOINT_URL. The lake is only read. --answers writes the numbers as JSON for other programs; a
runner with workers on other machines needs it: a place that they and this machine can reach.

exit codes: 0 done, 2 wrong usage or the report cannot be written there, 3 no lake there, 4 service unavailable, 5 disk
full, 6 a vacuum removed what it was to read: run it again, 7 no permission
"""


def answers(lake_root: str, options: PipelineOptions, place: str | None = None) -> Answers:
    """Compute the answers; the lake is only read.

    Args:
        lake_root: a directory or ``s3://BUCKET/PREFIX``.
        options: Beam's.
        place: a directory or ``s3://BUCKET/PREFIX`` for the file :data:`pipelines.analysis.graph.RESULT`; without it a
            temporary directory of this machine.

    Raises:
        InputUnusable: there is no lake.
        OutputUnusable: the workers do not reach the place, or it cannot be written.
        ServiceUnavailable: the storage does not answer.
    """
    lk = filled_lake(lake_root)
    files = lk.entries(Dataset.QUALIFIED, Dataset.UNQUALIFIED, Dataset.DEAD_LETTERS)
    progress.planned(sum(file.bytes for file in files))
    with TemporaryDirectory() if place is None else nullcontext(place) as reached:
        with beam.Pipeline(options=options) as pipeline:
            questions(pipeline, lk, reached)
        try:
            return msgspec.json.decode(storage(reached).read(RESULT), type=Answers)
        except FileNotFoundError as error:
            raise OutputUnusable(
                f"{reached}: the runner's workers cannot write there; give --answers a place that they and this "
                "machine can reach, such as s3://BUCKET/PREFIX"
            ) from error


def print_answers(found: Answers) -> None:
    """Print the answers as text."""
    print("\n".join(lines(found)))


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="prestacop analyze",
        description="When, where and what for violations are written, and how much of it needs a police officer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--lake", required=True, metavar="DIR_OR_S3_URL", help="the lake")
    parser.add_argument(
        "--report", type=Path, default=Path("report.html"), metavar="PATH", help="the page to write (report.html)"
    )
    parser.add_argument(
        "--codes", type=Path, metavar="FILE", help=f"the city's table of violation codes, for the fines: {GET_IT}"
    )
    parser.add_argument("--answers", metavar="DIR_OR_S3_URL", help=f"also write the numbers there, as {RESULT}")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments, rest = parser.parse_known_args(argv)
    options = beam_options(parser, rest)
    run(lambda: _command(arguments, options), "The lake was only read; run it again.")


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    rates = read_rates(arguments.codes) if arguments.codes else None
    check_report(arguments.report)
    if arguments.answers:
        storage(arguments.answers).probe()
    with reading(arguments.lake, "analysis"):
        with progress_bar("reading", arguments.quiet):
            found = answers(arguments.lake, options, arguments.answers)
        if rates is not None:
            found = msgspec.structs.replace(found, fines=fines(lake(arguments.lake), rates))
    print_answers(found)
    write_report(found, arguments.report)
    print(f"\nreport  {arguments.report}")
    return 0
