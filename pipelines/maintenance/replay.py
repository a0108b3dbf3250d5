"""``prestacop replay``: validate dead letters again, and move those that pass into their dataset, exactly once."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lake import Lake, filled_lake
from lake.changes import Change
from lake.storage import storage
from pipelines.cli.app import progress_bar, run
from pipelines.cli.runner import beam_options
from pipelines.maintenance import flags
from pipelines.maintenance.committing import commit_change
from pipelines.maintenance.replay_graph import letters_of, replay_graph
from schemas.answers import load_public_keys
from sources.progress import progress


def replay(
    root: str, reason: str, options: PipelineOptions, officer_keys: Sequence[bytes] = ()
) -> dict[str, Any] | None:
    """Replay the dead letters of a reason.

    Args:
        officer_keys: public keys (32 bytes each), one of which must have signed an officer's answer.

    Returns:
        The change's row of the ledger; None where nothing changed.

    Raises:
        InputUnusable: there is no lake, or the columns of a history file are unknown.
        InputChanged: a vacuum removed files that were still to be read.
    """

    def attempt(lk: Lake, change: Change) -> None:
        if files := letters_of(lk, reason):
            progress.planned(sum(letters.file.bytes for letters in files))
            with beam.Pipeline(options=options) as pipeline:
                replay_graph(pipeline, root, files, change, officer_keys)

    return commit_change(root, f"replay of {reason}", attempt)


def dead_letters_by_reason(root: str) -> dict[str, int]:
    """The number of dead letters of each reason, most frequent first. Raises InputUnusable where there is no lake."""
    query = "SELECT reason, count(*) AS n FROM dead_letters_of_all_units GROUP BY ALL ORDER BY n DESC, reason"
    found = filled_lake(root).sql(query)
    return {row["reason"]: row["n"] for row in found.to_pylist()}


def summary(change: dict[str, Any] | None, reason: str, before: dict[str, int], after: dict[str, int]) -> Iterator[str]:
    """Lines with the rows that a replay moved to each dataset, and those that are still refused."""
    if change is None:
        yield f"nothing changed: all {before[reason]:,} dead letters of {reason} are still refused"
        return
    into: Counter[str] = Counter()
    for move in change["moves"]:
        into[move["into"]] += move["rows"]
    yield f"{before[reason]:,} dead letters of {reason}:"
    yield from (f"  {n:>9,}  → {dataset}" for dataset, n in into.most_common())
    yield f"  {after.get(reason, 0):>9,}  are still refused"
    more = {name: n - before.get(name, 0) for name, n in after.items() if n > before.get(name, 0) and name != reason}
    yield from (f"  {n:>9,}  are now refused: {name}" for name, n in more.items())


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.replay()
    arguments, rest = parser.parse_known_args(argv)
    options = beam_options(parser, rest)
    run(lambda: _command(arguments, options), "The lake is as it was; run it again:", ["prestacop", "replay", *argv])


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    root, reason = arguments.lake, arguments.reason
    before = dead_letters_by_reason(root)
    if reason not in before:
        there = ", ".join(f"{name} ({n:,})" for name, n in before.items()) or "no dead letter"
        print(f"nothing to replay: no dead letter has the reason {reason}; the lake has: {there}")
        return 0
    officer_keys = load_public_keys(arguments.officer_keys) if arguments.officer_keys else ()
    storage(root).probe()
    with progress_bar("replaying", arguments.quiet):
        change = replay(root, reason, options, officer_keys)
    print("\n".join(summary(change, reason, before, dead_letters_by_reason(root))))
    return 0
