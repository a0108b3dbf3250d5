"""``python -m pipelines.violations``: plan the input, run the graph over it, say what happened."""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lake.layout import data_path, ledger_path, partitions
from pipelines.command import beam_options, progress_bar, run
from pipelines.options import add_arguments
from pipelines.summary import summary, units_of
from pipelines.violations import Plan, Settings, violations
from schemas.lake import Dataset, Source
from sources.cells import Cell
from sources.files import plan
from sources.history import HistoryCsv
from sources.progress import progress
from sources.recorded import RecordedMessages

RUN_BYTES = 8 << 30
"""A local run commits its units at its end, so a long input is read in several runs: what is stopped or killed
loses no more than one, and memory stays what it is."""

EXAMPLES = """\
examples:
  python -m pipelines.violations --history 'tickets/*.csv.gz' --output data/lake
  python -m pipelines.violations --messages file:fleet.jsonl --output s3://prestacop/lake
  python -m pipelines.violations --history tickets.csv --output data/lake --dry-run

Beam's own options may follow (--runner, --direct_num_workers, ...). S3 keys and the endpoint come from the AWS
credential chain and AWS_ENDPOINT_URL.

exit codes: 0 done, 1 the rows do not add up, 2 wrong usage, 3 input unusable, 4 service unavailable, 5 disk full
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.violations",
        description="History and drone messages -> a Parquet lake with exact statistics and a ledger.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    arguments, rest = parser.parse_known_args(argv)
    if not arguments.output:
        parser.error("--output is missing: say where the lake is, for example --output data/lake")
    if not (arguments.history or arguments.messages or arguments.images):
        parser.error("nothing to read: give --history, --messages or --images")
    if arguments.live:  # with more threads than elements Beam 2.77 cannot read the panes of a window
        rest = ["--direct_num_workers=1", *rest]
    options = beam_options(parser, rest)
    again = shlex.join(["python", "-m", "pipelines.violations", *argv])
    run(
        lambda: _command(arguments, options),
        f"Units in the ledger are done; to go on with the others run again:\n  {again}",
    )


def plan_input(history: str | None, messages: str | None, images: str | None = None) -> Plan:
    """The cells of all inputs, each a path or a pattern. Raises InputUnusable."""
    return Plan(
        plan(history, HistoryCsv()) if history else [],
        plan(messages, RecordedMessages(Source.DRONES)) if messages else [],
        plan(images, RecordedMessages(Source.IMAGES)) if images else [],
    )


def run_plan(todo: Plan, to: Settings, options: PipelineOptions) -> None:
    """Run the graph over a plan, in one pipeline after another where it is long."""
    progress.planned(sum(cell.end - cell.start for cells in todo for cell in cells))
    for part in _parts(todo):
        with beam.Pipeline(options=options) as pipeline:
            violations(pipeline, part, to)


def run_and_tell(todo: Plan, to: Settings, options: PipelineOptions, quiet: bool) -> list[str]:
    """Run the graph over a plan under a progress bar; gives the lines of the summary."""
    before, started = units_of(to.root), time.monotonic()
    with progress_bar("reading", quiet):
        run_plan(todo, to, options)
    return list(summary(to.root, before, time.monotonic() - started))


def _parts(todo: Plan) -> Iterator[Plan]:
    part, size = Plan([], [], []), 0
    for place, cells in enumerate(todo):
        for cell in cells:
            part[place].append(cell)
            size += cell.end - cell.start
            if size >= RUN_BYTES:
                yield part
                part, size = Plan([], [], []), 0
    if size:
        yield part


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    todo = plan_input(arguments.history, arguments.messages, arguments.images)
    if arguments.dry_run:
        _show(todo, arguments.output)
        return 0
    to = Settings(arguments.output, arguments.window, arguments.live, arguments.live_window, arguments.allowed_lateness)
    print("\n".join(run_and_tell(todo, to, options, arguments.quiet)))
    return 0


def _show(todo: Plan, root: str) -> None:
    cells: list[Cell] = [cell for source in todo for cell in source]
    print(f"{len(cells)} units of work would be read:")
    for cell in cells:
        kind = "gzip, cut into cells when unpacked" if cell.compressed else f"cell {cell.number}"
        print(f"  {cell.source:8} {(cell.end - cell.start) / 1e6:9.1f} MB  {cell.path} ({kind})")
    print(f"{sum(c.end - c.start for c in cells) / 1e6:.1f} MB in all; units that the ledger has are passed over.")
    print("Each would write, below " + root + ":")
    for source in sorted({c.source for c in cells}):
        for dataset in _datasets(source):
            month = "YYYY-MM" if "month" in partitions(dataset) else None
            print("  " + data_path(dataset, source, "UNIT", month))
        print("  " + ledger_path(source, "UNIT"))


def _datasets(source: Source) -> list[Dataset]:
    """The datasets in which a source's rows can land."""
    if source == Source.IMAGES:
        return [Dataset.IMAGES, Dataset.DEAD_LETTERS]
    return [d for d in Dataset if d != Dataset.IMAGES and (d, source) != (Dataset.POSITIONS, Source.HISTORY)]
