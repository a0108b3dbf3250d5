"""THE graph: history and drone messages in, a Parquet lake with statistics and a ledger out.

history CSV ─► Read ─► Parse ────────────┐               ┌─► positions    ─► Write ─┐
                        └► dead letters  ├─► Qualify ────┼─► qualified    ─► Write ─┤
messages ────► Read ─► Decode ─► Dedupe ─┤               └─► unqualified  ─► Write ─┼─► Commit: ledger
                        └► dead letters ┐│                    └─► alerts            │
                                        │├─► Count by window ─► stats ──────────────┤
                                        └┴─► Count live ─► panes                    │
images ──────► Read ─► Store ─► images   ─► Write ──────────────────────────────────┘
                        └► dead letters

messages, images ─► Watch drones ─► alerts, drone_events
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam

from schemas.lake import BRANCHES, Dataset, Source
from sources.units import BATCHES, TALLIES
from transforms.alerts.channels import Target
from transforms.alerts.publish import PublishAlerts
from transforms.health.health import WatchHealth
from transforms.history.parse import ParseHistory
from transforms.images import StoreImages
from transforms.live.windows import AppendPanes, CountLive
from transforms.messages.decode import DecodeMessages
from transforms.messages.dedupe import DropDuplicates
from transforms.outputs import DEAD_LETTERS, ROWS
from transforms.qualify import Qualify
from transforms.refusals import ANY_NUMBER, MaxDeadLetters
from transforms.stats import CountByWindow
from transforms.write import Commit, Write


class Reading(NamedTuple):
    """What a run reads of one source."""

    read: beam.PTransform
    """Gives ``batches`` and ``tallies``."""
    limit: MaxDeadLetters = ANY_NUMBER
    """The share of a unit's rows that may be dead letters."""
    name: str = ""
    """Of the input, by which the lake remembers what was seen of its drones; "" watches none."""


Inputs = Mapping[Source, Reading]
"""What a run reads, at most one input of each source."""


class Settings(NamedTuple):
    """Where the rows go."""

    root: str
    """The lake."""
    window_seconds: int
    """Of the exact statistics."""
    live: str | None = None
    """The file to which the live statistics are appended."""
    live_window_seconds: int = 60
    allowed_lateness: int = 300
    officer_keys: tuple[bytes, ...] = ()
    """The public keys of officers' answers, 32 bytes each."""
    alerts: tuple[Target, ...] = ()
    """Where unqualified violations of drones are published, and to topics also events of drones."""
    publish_every: float | None = None
    """Seconds between two publications of an unbounded run; a bounded one publishes at its end. None: never."""
    with_pictures: bool = False
    """Whether the run reads pictures, even if there is no new one."""


def violations(pipeline: beam.Pipeline, inputs: Inputs, settings: Settings) -> beam.PCollection:
    """Build the graph; returns the names of the units that it commits to the lake."""
    tallies, watched = [], []
    if history := inputs.get(Source.HISTORY):
        read = pipeline | "History" >> history.read
        parsed = read[BATCHES] | "Parse history" >> ParseHistory(history.limit, settings.root)
        tallies += [read[TALLIES], *land("history", parsed[ROWS], parsed[DEAD_LETTERS], settings)]
    if messages := inputs.get(Source.DRONES):
        read = pipeline | "Messages" >> messages.read
        decode = DecodeMessages(settings.officer_keys, messages.limit, settings.root)
        decoded = read[BATCHES] | "Decode messages" >> decode
        fresh = decoded[ROWS] | "Drop duplicates" >> DropDuplicates()
        landed = land("messages", fresh[ROWS], decoded[DEAD_LETTERS], settings, settings.alerts)
        tallies += [read[TALLIES], fresh[TALLIES], *landed]
        watched = [fresh[ROWS]]
        if settings.live:
            counted = fresh[ROWS], decoded[DEAD_LETTERS]
            panes = counted | "Count live" >> CountLive(settings.live_window_seconds, settings.allowed_lateness)
            _ = panes | "Append panes" >> AppendPanes(settings.live)
    if images := inputs.get(Source.IMAGES):
        read = pipeline | "Images" >> images.read
        stored = read[BATCHES] | "Store images" >> StoreImages(settings.root, images.limit)
        kept = stored[ROWS] | "Write images" >> Write(settings.root, Dataset.IMAGES)
        refused = stored[DEAD_LETTERS] | "Write dead letters of images" >> Write(settings.root, Dataset.DEAD_LETTERS)
        tallies += [read[TALLIES], kept, refused]
        watched += [stored[ROWS]] if watched else []
    if messages and messages.name:
        watch = WatchHealth(settings.root, messages.name, settings.alerts, settings.live, settings.with_pictures)
        _ = tuple(watched) | "Watch drones" >> watch
    return tallies | "All tallies" >> beam.Flatten() | "Commit" >> Commit(settings.root)


def land(
    source: str,
    rows: beam.PCollection,
    dead_letters: beam.PCollection,
    settings: Settings,
    alerts: Sequence[Target] = (),
) -> list[beam.PCollection]:
    """Write every row to its dataset, and count it in its window."""
    branches = rows | f"Qualify {source}" >> Qualify()
    if alerts:
        _ = branches[Dataset.UNQUALIFIED] | "Publish alerts" >> PublishAlerts(alerts)
    written = [branches[d] | f"Write {d} of {source}" >> Write(settings.root, d) for d in BRANCHES]
    refused = dead_letters | f"Write dead letters of {source}" >> Write(settings.root, Dataset.DEAD_LETTERS)
    counted = rows | f"Count {source} by window" >> CountByWindow(settings.root, settings.window_seconds)
    return [*written, refused, counted]
