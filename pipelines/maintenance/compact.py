"""``prestacop compact``: publish what is committed, merge the small files of the tables, delete replaced files."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lake import Lake, filled_lake
from lake.changes import COMPACTION, Change, published
from lake.storage import storage
from lake.uploads import delete_unnamed, unnamed_pictures
from lake.vacuum import Removable, Vacuumed, delete, find_due
from pipelines.cli.app import progress_bar, run
from pipelines.cli.runner import beam_options
from pipelines.maintenance import flags
from pipelines.maintenance.committing import commit_change
from pipelines.maintenance.compaction_graph import ROUND_BYTES, compaction, plan, with_checksums
from schemas.lake import DUPLICATES, Dataset
from sources.progress import progress
from sources.tidy import tidy


def compact(root: str, target: int, options: PipelineOptions) -> dict[str, Any] | None:
    """Publish what is committed, and merge small files.

    Args:
        target: size of a merged file, in bytes.

    Returns:
        The row of the last change; None where there was nothing to merge.

    Raises:
        InputUnusable: there is no lake.
        InputChanged: a vacuum removed files that were still to be read.
    """
    last, size = None, ROUND_BYTES

    def attempt(lk: Lake, change: Change) -> None:
        nonlocal size
        pieces = plan(lk, target)
        size = sum(piece.bytes for piece in pieces)
        if pieces:
            progress.planned(size)
            with beam.Pipeline(options=options) as pipeline:
                compaction(pipeline, root, with_checksums(lk, pieces), change)

    while size >= ROUND_BYTES:  # there was more than one change takes
        last = commit_change(root, COMPACTION, attempt) or last
    return last


def _amount(files: int, size: int) -> str:
    return f"{files:,} files, {size / 1e6:,.2f} MB"


def preview(
    root: str, target: int, retention: timedelta, deep: bool, only_vacuum: bool, keep_uploads: float
) -> Iterator[str]:
    """Lines that say by dataset what a run would publish, merge and delete. Raises InputUnusable where there is no
    lake."""
    lk = filled_lake(root)
    pieces = [] if only_vacuum else plan(lk, target, published=None)
    files = [file for due in find_due(root, retention, deep) for file in due.files]
    yield f"  {'':14}{'publish':>26}{'merge':>26}{'delete':>26}"
    for dataset in Dataset:
        tail = [] if only_vacuum else lk.entries(dataset, published=False)
        columns = (
            [file.bytes for file in tail],
            [file.bytes for piece in pieces if piece.dataset == dataset for file in piece.files],
            [file.bytes for file in files if file.dataset == dataset],
        )
        if any(columns):
            amounts = (_amount(len(sizes), sum(sizes)) for sizes in columns)
            yield f"  {dataset.replace('_', ' '):14}" + "".join(f"{amount:>26}" for amount in amounts)
    if deep:
        yield f"{_uploads(unnamed_pictures(root, keep_uploads))} to be deleted"
    yield "nothing was changed (--dry-run)"


def _uploads(pictures: Sequence[Removable]) -> str:
    amount = _amount(len(pictures), sum(picture.bytes for picture in pictures))
    return f"{amount} of pictures that no message has named"


def summary(before: Lake, after: Lake, deleted: Vacuumed) -> Iterator[str]:
    """Lines with the files, megabytes and rows of each dataset before and after a run, and what became of them."""
    yield f"  {'':14}{'files':>18}{'MB':>22}{'rows':>28}"
    for dataset in Dataset:
        was, now = before.size(dataset), after.size(dataset)
        if was.files or now.files:
            cells = f"{was.files:,} → {now.files:,}", f"{was.bytes / 1e6:,.2f} → {now.bytes / 1e6:,.2f}"
            rows = f"{was.rows:,} → {now.rows:,}"
            yield f"  {dataset.replace('_', ' '):14}{cells[0]:>18}{cells[1]:>22}{rows:>28}"
    changes = after.changes_since(before.number)
    copies = sum(move["rows"] for moves in changes["moves"].to_pylist() for move in moves if move["into"] == DUPLICATES)
    yield f"{len(published(changes)):,} units published, {copies:,} copies of rows dropped"
    yield vacuumed(deleted)


def vacuumed(deleted: Vacuumed) -> str:
    """A line with what a vacuum deleted."""
    amount = _amount(deleted.files, deleted.bytes)
    return f"{amount} deleted; {deleted.kept:,} younger ones are kept for open readers"


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.compact()
    arguments, rest = parser.parse_known_args(argv)
    options = beam_options(parser, rest)
    resume = "No row is lost or duplicated; run it again:"
    run(lambda: _command(arguments, options), resume, ["prestacop", "compact", *argv])


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    root, target, retention = arguments.lake, arguments.file_mb << 20, timedelta(seconds=arguments.retention)
    keep = arguments.keep_uploads
    if arguments.dry_run:
        print(*preview(root, target, retention, arguments.deep, arguments.vacuum, keep), sep="\n")
        return 0
    before, uploads = filled_lake(root), list[Removable]()
    with progress_bar("compacting", arguments.quiet):
        if not arguments.vacuum:
            storage(root).probe()
            compact(root, target, options)
        found = find_due(root, retention, arguments.deep)
        if arguments.deep:
            uploads = unnamed_pictures(root, keep)
        progress.planned(sum(file.bytes for file in (*uploads, *(file for due in found for file in due.files))))
        deleted = delete(root, found, retention, progress.advance)
        uploads = delete_unnamed(root, uploads, keep, progress.advance)
    if not arguments.vacuum and (tidied := tidy(root)):
        print(f"{tidied:,} plans, spooled segments and notes of committed units deleted")
    if uploads:
        print(f"{_uploads(uploads)} deleted")
    print(*([vacuumed(deleted)] if arguments.vacuum else summary(before, Lake(root), deleted)), sep="\n")
    return 0
