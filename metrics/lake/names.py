"""The metrics of a lake and of its topics."""

from typing import Final

from metrics.metric import Kind, Metric

UP: Final = Metric(
    "prestacop_up",
    Kind.GAUGE,
    "1 while the last successful look at this part (lake, or the topic of a source) is recent, else 0: then the other "
    "metrics of the part are old",
    ("part",),
)
LOOK_AGE: Final = Metric(
    "prestacop_look_age_seconds", Kind.GAUGE, "Seconds since the last successful look at this part", ("part",)
)
LOOK_DURATION: Final = Metric(
    "prestacop_look_duration_seconds", Kind.GAUGE, "How long the last successful look took", ("part",)
)
LOOKS: Final = Metric("prestacop_looks", Kind.COUNTER, "Looks at this part that succeeded", ("part",))
FAILURES: Final = Metric("prestacop_look_failures", Kind.COUNTER, "Looks at this part that failed", ("part",))
UNITS: Final = Metric("prestacop_committed_units", Kind.COUNTER, "Units of work that were committed", ("source",))
ROWS_READ: Final = Metric("prestacop_read_rows", Kind.COUNTER, "Input rows of committed units", ("source",))
ROWS: Final = Metric(
    "prestacop_committed_rows",
    Kind.COUNTER,
    "Rows as their units committed them; `duplicates` are copies that were dropped within a unit",
    ("source", "dataset"),
)
MOVED: Final = Metric(
    "prestacop_moved_rows",
    Kind.COUNTER,
    "Rows that a later change moved: copies that a publication found, replayed dead letters, undone units",
    ("source", "out_of", "into"),
)
LETTERS: Final = Metric(
    "prestacop_dead_letters",
    Kind.COUNTER,
    "Dead letters that were committed since the process started, by reason; for all dead letters of the lake see "
    'dataset="dead_letters" of prestacop_committed_rows_total',
    ("source", "reason"),
)
COMMIT_AGE: Final = Metric(
    "prestacop_commit_age_seconds", Kind.GAUGE, "Seconds since the last commit of a unit", ("source",)
)
WATERMARK: Final = Metric(
    "prestacop_watermark_lag_seconds",
    Kind.GAUGE,
    "Seconds since the newest committed message was published to its topic; not for recordings, and missing after a "
    "compaction has replaced the last unit's files, until the next commit",
    ("source",),
)
BEHIND: Final = Metric(
    "prestacop_messages_behind",
    Kind.GAUGE,
    "Messages of a Kafka partition that no committed unit has",
    ("source", "partition"),
)
TAIL: Final = Metric("prestacop_tail_units", Kind.GAUGE, "Units that are committed and not published yet")
CHANGE: Final = Metric("prestacop_last_change_number", Kind.GAUGE, "The number of the lake's last change")
STUCK: Final = Metric(
    "prestacop_pipeline_stuck",
    Kind.GAUGE,
    "1 if messages of the Kafka topic wait and no unit of the source was committed for `--stuck-after` (5 minutes), "
    "else 0; it does not change while looks fail",
    ("source",),
)
TO_COMMIT: Final = Metric(
    "prestacop_event_to_commit_seconds",
    Kind.HISTOGRAM,
    "Time from an event, by the drone's clock, to the commit of its unit: a sample, the largest file of up to 8 units "
    "per look and source, since the process started; not for recordings",
    ("source",),
)
TO_PUBLICATION: Final = Metric(
    "prestacop_event_to_publication_seconds",
    Kind.HISTOGRAM,
    "Time from an event to the publication of its unit in the Delta tables, for the same units",
    ("source",),
)
PUBLICATION_AGE: Final = Metric("prestacop_publication_age_seconds", Kind.GAUGE, "Seconds since the last publication")

METRICS: Final = (
    UP, LOOK_AGE, LOOK_DURATION, LOOKS, FAILURES, UNITS, ROWS_READ, ROWS, MOVED, LETTERS, COMMIT_AGE, WATERMARK, BEHIND,
    TAIL, CHANGE, PUBLICATION_AGE, STUCK, TO_COMMIT, TO_PUBLICATION,
)  # fmt: skip
"""All of them."""
