"""``prestacop compact``: merge the lake's small files and remove duplicate messages."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lake import Lake
from lake.changes import Change, vacuum
from lake.ledger import unit_paths
from lake.reader import earlier
from lake.storage import storage
from pipelines.cli.app import beam_options, progress_bar, run
from pipelines.maintenance import flags
from pipelines.maintenance.compaction_graph import commit_change, compaction, plan
from schemas.lake import Dataset
from sources.progress import progress


def compact(root: str, target: int, options: PipelineOptions) -> dict[str, Any] | None:
    """Compact the lake.

    Args:
        target: size of a merged file, in bytes.

    Returns:
        The change's row of the ledger; None where there was nothing to do.

    Raises:
        InputUnusable: there is no lake.
        InputChanged: a vacuum removed files that were still to be read.
    """

    def attempt(lk: Lake, change: Change) -> None:
        if pieces := plan(lk, target):
            progress.planned(sum(file.bytes for piece in pieces for file in piece.files))
            with beam.Pipeline(options=options) as pipeline:
                compaction(pipeline, root, pieces, change)

    return commit_change(root, "compaction", attempt)


def summary(root: str, change: dict[str, Any]) -> Iterator[str]:
    """Lines with the files, megabytes and rows of each dataset before and after a compaction."""
    number = int(change["unit"].split("-")[1])
    lk = Lake(root)
    before, after = (earlier(lk, n).entries for n in (number - 1, number))
    yield f"  {'':14}{'files':>18}{'MB':>22}{'rows':>28}"
    for dataset in Dataset:
        was, now = before(dataset), after(dataset)
        if was:
            mb = [sum(file.bytes for file in files) / 1e6 for files in (was, now)]
            rows = [sum(file.rows for file in files) for files in (was, now)]
            cells = f"{len(was):,} → {len(now):,}", f"{mb[0]:,.2f} → {mb[1]:,.2f}", f"{rows[0]:,} → {rows[1]:,}"
            yield f"  {dataset.replace('_', ' '):14}{cells[0]:>18}{cells[1]:>22}{cells[2]:>28}"
    dropped = sum(move["rows"] for move in change["moves"])
    yield f"{dropped:,} duplicate rows removed" if dropped else "no duplicate rows"


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    argv = sys.argv[1:] if argv is None else argv
    parser = flags.compact()
    arguments, rest = parser.parse_known_args(argv)
    options = beam_options(parser, rest)
    again = shlex.join(["prestacop", "compact", *argv])
    run(lambda: _command(arguments, options), f"The lake is as it was; run it again:\n  {again}")


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    root = arguments.lake
    if arguments.vacuum:
        done = vacuum(root, timedelta(seconds=arguments.older_than))
        print(f"{done.files:,} files removed, {done.bytes / 1e6:,.2f} MB; {done.kept:,} younger ones are kept")
        return 0
    if unit_paths(root):
        storage(root).probe()
    with progress_bar("merging", arguments.quiet):
        change = compact(root, arguments.file_mb << 20, options)
    if change is None:
        print(f"nothing to compact: {root} has no small files to merge and no duplicate messages")
        return 0
    print("\n".join(summary(root, change)))
    print(f"{len(change['replaces']):,} replaced files are kept for open readers. To remove them:")
    print(f"  prestacop compact --lake {shlex.quote(root)} --vacuum")
    return 0
