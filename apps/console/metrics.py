"""The console's metrics, read from its database and its parts at the time of a scrape."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.registry import Collector

from metrics.metric import Kind, Metric
from metrics.server import Family, Samples, family

from .console import DATABASE, Console
from .database import DISK_ERRORS, Database
from .figures import oldest_waiting, unanswered

ALERTS: Final = Metric(
    "prestacop_console_alerts_unanswered", Kind.GAUGE, "Alerts that the console has and no officer has answered"
)
OLDEST_ALERT: Final = Metric(
    "prestacop_console_oldest_unanswered_alert_age_seconds",
    Kind.GAUGE,
    "Seconds since the oldest unanswered alert was raised; 0 where there is none",
)
ANSWERS: Final = Metric(
    "prestacop_console_answers",
    Kind.COUNTER,
    "Answers of officers since the console was started: `violation`, `no_violation`, or `not_first`, which came after "
    "another answer to the same alert and does not count, or `second_look`, which is not published",
    ("result",),
)
OUTBOX: Final = Metric(
    "prestacop_console_outbox_messages", Kind.GAUGE, "Answers and commands that no broker has acknowledged yet"
)
OLDEST_MESSAGE: Final = Metric(
    "prestacop_console_oldest_outbox_message_age_seconds",
    Kind.GAUGE,
    "Seconds since the oldest of these was put into the outbox; 0 where there is none",
)
DISK_FREE: Final = Metric(
    "prestacop_console_disk_free_bytes", Kind.GAUGE, "Free bytes of the disk that has the directory `--data`"
)
DISK_SIZE: Final = Metric("prestacop_console_disk_size_bytes", Kind.GAUGE, "Size of that disk in bytes")
DATABASE_UP: Final = Metric(
    "prestacop_console_database_up",
    Kind.GAUGE,
    "1 while the console can read and write its database, else 0; the metrics of alerts and of the outbox are missing "
    "while it cannot be read",
)
TOPIC_UP: Final = Metric(
    "prestacop_console_topic_up",
    Kind.GAUGE,
    "1 while the last attempt to read from or publish to the topic succeeded, else 0; `topic` is one of alerts, "
    "answers, images, commands, confirmations",
    ("topic",),
)
METRICS: Final = (
    ALERTS, OLDEST_ALERT, ANSWERS, OUTBOX, OLDEST_MESSAGE, DISK_FREE, DISK_SIZE, DATABASE_UP, TOPIC_UP,
)  # fmt: skip
"""All of them."""


class ConsoleMetrics(Collector):
    """The metrics of a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterator[Family]:
        """Called for a scrape."""
        console = self._console
        try:
            yield from self._of_database(console.database, console.clock())
            works = True
        except DISK_ERRORS:  # the console's own check has logged and shows it
            works = False
        yield family(DATABASE_UP, [((), works and DATABASE not in console.troubles())])
        yield family(TOPIC_UP, [((topic,), not trouble) for topic, trouble in console.topics().items()])
        yield family(ANSWERS, [((result,), n) for result, n in console.desk.results.items()])
        yield from _of_disk(console.database)

    def _of_database(self, database: Database, now: float) -> Iterator[Family]:
        alerts, waiting = unanswered(database), oldest_waiting(database)
        yield family(ALERTS, [((), alerts.n)])
        yield family(OLDEST_ALERT, _age(alerts.oldest, now))
        yield family(OUTBOX, [((), waiting.n)])
        yield family(OLDEST_MESSAGE, _age(waiting.oldest, now))


def _of_disk(database: Database) -> Iterator[Family]:
    try:
        disk = database.disk()
    except OSError:  # the folder is gone
        return
    yield family(DISK_FREE, [((), disk.free)])
    yield family(DISK_SIZE, [((), disk.total)])


def _age(at: float | None, now: float) -> Samples:
    return [((), 0.0 if at is None else max(now - at, 0.0))]
