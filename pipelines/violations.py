"""THE graph: history and drone messages in, a Parquet lake with statistics and a ledger out.

history CSV ─► Read ─► Parse ────────────┐               ┌─► positions    ─► Write ─┐
                        └► dead letters  ├─► Qualify ────┼─► qualified    ─► Write ─┤
messages ────► Read ─► Decode ─► Dedupe ─┤               └─► unqualified  ─► Write ─┼─► Commit: ledger
                        └► dead letters  └─► Count by window ─► stats ──────────────┘
"""

from typing import NamedTuple

import apache_beam as beam

from schemas.lake import Dataset, Source
from sources.cells import Cell
from sources.files import ReadFiles
from sources.history import HistoryCsv
from sources.recorded import RecordedMessages
from sources.units import BATCHES, TALLIES
from transforms.dedupe import DropDuplicates
from transforms.history import ParseHistory
from transforms.messages import DecodeMessages
from transforms.names import DEAD_LETTERS, ROWS
from transforms.qualify import BRANCHES, Qualify
from transforms.stats import CountByWindow
from transforms.write import Commit, Write


class Plan(NamedTuple):
    """What one run reads: the cells of each source."""

    history: list[Cell]
    messages: list[Cell]


def violations(pipeline: beam.Pipeline, plan: Plan, root: str, window_seconds: int) -> beam.PCollection:
    """Build the graph; what comes out are the names of the units that it commits to the lake at ``root``."""
    tallies = []
    if plan.history:
        read = pipeline | "History" >> ReadFiles(plan.history, HistoryCsv(), root)
        parsed = read[BATCHES] | "Parse history" >> ParseHistory()
        tallies += [read[TALLIES], *land("history", parsed[ROWS], parsed[DEAD_LETTERS], root, window_seconds)]
    if plan.messages:
        read = pipeline | "Messages" >> ReadFiles(plan.messages, RecordedMessages(Source.DRONES), root)
        decoded = read[BATCHES] | "Decode messages" >> DecodeMessages()
        fresh = decoded[ROWS] | "Drop duplicates" >> DropDuplicates()
        tallies += [read[TALLIES], fresh[TALLIES]]
        tallies += land("messages", fresh[ROWS], decoded[DEAD_LETTERS], root, window_seconds)
    return tallies | "All tallies" >> beam.Flatten() | "Commit" >> Commit(root)


def land(
    source: str, rows: beam.PCollection, dead_letters: beam.PCollection, root: str, window_seconds: int
) -> list[beam.PCollection]:
    """The way of every row into the lake, whatever its source: its dataset and its window's count."""
    branches = rows | f"Qualify {source}" >> Qualify()
    written = [branches[d] | f"Write {d} of {source}" >> Write(root, d) for d in BRANCHES]
    refused = dead_letters | f"Write dead letters of {source}" >> Write(root, Dataset.DEAD_LETTERS)
    counted = rows | f"Count {source} by window" >> CountByWindow(root, window_seconds)
    return [*written, refused, counted]


if __name__ == "__main__":
    from pipelines.run import main

    main()
