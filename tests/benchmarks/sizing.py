"""``python -m tests.benchmarks.sizing``: what 1 to 1,000 drones need, computed from what was measured.

Pictures are in their messages (v1), or the drones upload them and send their hashes (v2). Prints the tables of
docs/sizing.md; change a figure of :class:`Measured` or :class:`Assumed` and print them again.
"""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

DAY = 86_400
DRONES = (1, 10, 100, 1_000)


class Measured(NamedTuple):
    """On 2 cores of an AMD EPYC with the servers beside the pipeline, start-up included (``make bench-stream``); where
    nothing else is said, in docs/performance/2026-11-30-stream.json."""

    messages_per_cpu_second: float = 211_000
    """Of the pipeline, bounded: the default in 5 M messages, median of two rounds."""
    picture_mb_per_cpu_second: float = 72
    """Kafka to S3, pictures of 500 kB in their messages."""
    uploaded_pictures_per_cpu_second: float = 1_280
    """Of messages on pictures that drones have uploaded, of any size: a HEAD each. In no file of figures."""
    lake_bytes_per_message: float = 37.8
    kafka_mb_per_second: float = 203
    """That one broker of this kind takes and gives, half of it each."""


class Assumed(NamedTuple):
    """What nobody can measure here."""

    bytes_per_drone_and_day: float = 100e9
    message_bytes: float = 273
    messages_per_second: float = 1
    picture_bytes: float = 500_000
    uploaded_message_bytes: float = 190
    """Of a message on an uploaded picture."""
    headroom: float = 0.5
    """Share of a core or a broker that is planned to be busy."""
    replicas: int = 3
    topic_days: float = 7
    picture_days: float = 365
    partition_mb_per_second: float = 10
    """Of pictures; one partition is one file of one broker, and what falls behind is read from disk."""
    s3_dollars_per_gb_month: float = 0.023
    s3_dollars_per_million_puts: float = 5.0
    s3_dollars_per_million_heads: float = 0.4
    core_dollars_per_hour: float = 0.045
    archive_dollars_per_gb_month: float = 0.004
    """Of a class that answers at once, for what is rarely read."""
    archive_dollars_per_million: float = 20.0
    """Objects that a rule of the bucket moves there."""
    disk_dollars_per_gb_month: float = 0.08
    """List prices of a large American region, 2025; yours are others."""


class Need(NamedTuple):
    """Of a fleet."""

    drones: int
    form: str
    """Of the messages on pictures: v1 or v2."""
    messages_per_second: float
    pictures_per_second: float
    megabytes_per_second: float
    """Through the brokers."""
    partitions: int
    """Of pictures."""
    brokers: int
    cores: int
    topic_tb: float
    pictures_tb: float
    lake_gb_per_day: float
    objects_per_day: float
    dollars: dict[str, float]
    """A day, by what they are for."""


def need(drones: int, measured: Measured, assumed: Assumed, uploaded: bool = False) -> Need:
    """What so many drones need.

    Args:
        uploaded: the drones upload their pictures, as many as they else send in messages.

    >>> need(1, Measured(), Assumed()).cores
    1
    """
    messages = drones * assumed.messages_per_second
    # Base64 makes a picture a third longer on the wire.
    inline = assumed.picture_bytes * 4 / 3
    pictures = (drones * assumed.bytes_per_drone_and_day / DAY - messages * assumed.message_bytes) / inline
    in_message = assumed.uploaded_message_bytes if uploaded else inline
    rate = (messages * assumed.message_bytes + pictures * in_message) / 1e6
    partitions = max(math.ceil(rate / assumed.partition_mb_per_second), 1)
    brokers = max(
        math.ceil(rate * (assumed.replicas + 1) / measured.kafka_mb_per_second / assumed.headroom), assumed.replicas
    )
    per_core = (
        measured.uploaded_pictures_per_cpu_second
        if uploaded
        else measured.picture_mb_per_cpu_second * 1e6 / assumed.picture_bytes
    )
    busy = messages / measured.messages_per_cpu_second + pictures / per_core
    cores = max(math.ceil(busy / assumed.headroom), 1)
    topic = rate * DAY * assumed.topic_days * assumed.replicas / 1e6
    kept = pictures * assumed.picture_bytes * DAY * assumed.picture_days / 1e12
    lake = messages * DAY * measured.lake_bytes_per_message / 1e9
    # A unit a second and partition, five files, a plan and a row of the ledger each; and the pictures.
    objects = pictures * DAY + 7 * DAY * min(partitions + 4, messages + pictures)
    heads = pictures * DAY if uploaded else 0
    dollars = {
        "bucket": (kept * 1e3 + lake * 30) * assumed.s3_dollars_per_gb_month / 30,
        "requests": (objects * assumed.s3_dollars_per_million_puts + heads * assumed.s3_dollars_per_million_heads)
        / 1e6,
        "brokers' disks": topic * 1e3 * assumed.disk_dollars_per_gb_month / 30,
        "worker cores": cores * 24 * assumed.core_dollars_per_hour,
    }
    form = "v2" if uploaded else "v1"
    return Need(drones, form, messages, pictures, rate, partitions, brokers, cores, topic, kept, lake, objects, dollars)


def tables(measured: Measured, assumed: Assumed) -> Iterator[str]:
    """The tables of the page, line by line."""
    needs = [need(drones, measured, assumed, uploaded) for drones in DRONES for uploaded in (False, True)]
    yield "| drones | form | messages/s | pictures/s | MB/s | partitions of pictures | brokers | worker cores |"
    yield "|---:|---|---:|---:|---:|---:|---:|---:|"
    for n in needs:
        yield (
            f"| {n.drones:,} | {n.form} | {n.messages_per_second:,.0f} | {n.pictures_per_second:,.1f} "
            f"| {n.megabytes_per_second:,.2f} | {n.partitions:,} | {n.brokers:,} | {n.cores:,} |"
        )
    yield ""
    yield "| drones | form | topics, TB | pictures, TB | lake, GB a day | objects a day |"
    yield "|---:|---|---:|---:|---:|---:|"
    for n in needs:
        yield (
            f"| {n.drones:,} | {n.form} | {n.topic_tb:,.2f} | {n.pictures_tb:,.0f} | {n.lake_gb_per_day:,.2f} "
            f"| {n.objects_per_day:,.0f} |"
        )
    yield ""
    yield f"| drones | form | {' | '.join(f'{name}, $ a day' for name in needs[0].dollars)} | $ a day | $ a month |"
    yield f"|---:|---|{'---:|' * (len(needs[0].dollars) + 2)}"
    for n in needs:
        parts = " | ".join(f"{dollars:,.2f}" for dollars in n.dollars.values())
        total = sum(n.dollars.values())
        yield f"| {n.drones:,} | {n.form} | {parts} | {total:,.2f} | {30 * total:,.0f} |"


def kept_less(measured: Measured, assumed: Assumed, drones: int = 1_000) -> Iterator[str]:
    """The table of what lowers the largest part, line by line: the bucket, and the requests that move pictures."""
    whole = need(drones, measured, assumed, uploaded=True)
    objects = whole.pictures_per_second * DAY
    yield "| pictures | TB in the usual class | TB archived | bucket, $ a day | moves, $ a day | $ a day, all |"
    yield "|---|---:|---:|---:|---:|---:|"
    for what, usual, archived in (
        (f"{assumed.picture_days:.0f} days, as above", assumed.picture_days, 0.0),
        (f"{assumed.picture_days:.0f} days, archived after 30", 30.0, assumed.picture_days - 30),
        ("90 days", 90.0, 0.0),
        ("30 days", 30.0, 0.0),
    ):
        tb = whole.pictures_tb / assumed.picture_days
        lake = whole.lake_gb_per_day * assumed.s3_dollars_per_gb_month
        bucket = lake + tb * 1e3 / 30 * (
            usual * assumed.s3_dollars_per_gb_month + archived * assumed.archive_dollars_per_gb_month
        )
        moves = objects * assumed.archive_dollars_per_million / 1e6 if archived else 0.0
        total = sum(whole.dollars.values()) - whole.dollars["bucket"] + bucket + moves
        yield f"| {what} | {usual * tb:,.0f} | {archived * tb:,.0f} | {bucket:,.0f} | {moves:,.0f} | {total:,.0f} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join([*tables(Measured(), Assumed()), "", *kept_less(Measured(), Assumed())]) + "\n")
