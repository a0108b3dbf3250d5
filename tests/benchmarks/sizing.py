"""``python -m tests.benchmarks.sizing``: what 1 to 1,000 drones need, computed from what was measured.

Prints the tables of docs/sizing.md; change a figure of :class:`Measured` or :class:`Assumed` and print them again.
"""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

DAY = 86_400
DRONES = (1, 10, 100, 1_000)


class Measured(NamedTuple):
    """On 2 cores of an AMD EPYC with the servers beside the pipeline, start-up included (``make bench-stream``)."""

    messages_per_cpu_second: float = 140_000
    """Of the pipeline, bounded."""
    picture_mb_per_cpu_second: float = 57
    """Kafka to S3, pictures of 500 kB."""
    lake_bytes_per_message: float = 37.8
    kafka_mb_per_second: float = 203
    """That one broker of this kind takes and gives, half of it each."""


class Assumed(NamedTuple):
    """What nobody can measure here."""

    bytes_per_drone_and_day: float = 100e9
    message_bytes: float = 273
    messages_per_second: float = 1
    picture_bytes: float = 500_000
    headroom: float = 0.5
    """Share of a core or a broker that is planned to be busy."""
    replicas: int = 3
    topic_days: float = 7
    picture_days: float = 365
    partition_mb_per_second: float = 10
    """Of pictures; one partition is one file of one broker, and what falls behind is read from disk."""
    s3_dollars_per_gb_month: float = 0.023
    s3_dollars_per_million_puts: float = 5.0
    core_dollars_per_hour: float = 0.045
    disk_dollars_per_gb_month: float = 0.08
    """List prices of a large American region, 2025; yours are others."""


class Need(NamedTuple):
    """Of a fleet."""

    drones: int
    messages_per_second: float
    pictures_per_second: float
    megabytes_per_second: float
    partitions: int
    brokers: int
    cores: int
    topic_tb: float
    pictures_tb: float
    lake_gb_per_day: float
    objects_per_day: float
    dollars_per_month: float


def need(drones: int, measured: Measured, assumed: Assumed) -> Need:
    """What so many drones need.

    >>> need(1, Measured(), Assumed()).cores
    1
    """
    messages = drones * assumed.messages_per_second
    rate = drones * assumed.bytes_per_drone_and_day / DAY / 1e6
    # Base64 makes a picture a third longer on the wire.
    pictures = (rate * 1e6 - messages * assumed.message_bytes) / (assumed.picture_bytes * 4 / 3)
    partitions = max(math.ceil(rate / assumed.partition_mb_per_second), 1)
    brokers = max(
        math.ceil(rate * (assumed.replicas + 1) / measured.kafka_mb_per_second / assumed.headroom), assumed.replicas
    )
    busy = (
        messages / measured.messages_per_cpu_second
        + pictures * assumed.picture_bytes / 1e6 / measured.picture_mb_per_cpu_second
    )
    cores = max(math.ceil(busy / assumed.headroom), 1)
    topic = rate * DAY * assumed.topic_days * assumed.replicas / 1e6
    kept = pictures * assumed.picture_bytes * DAY * assumed.picture_days / 1e12
    lake = messages * DAY * measured.lake_bytes_per_message / 1e9
    # A unit a second and partition, five files, a plan and a row of the ledger each; and the pictures.
    objects = pictures * DAY + 7 * DAY * min(partitions + 4, messages + pictures)
    dollars = (
        (kept * 1e3 + lake * 30) * assumed.s3_dollars_per_gb_month
        + objects * 30 / 1e6 * assumed.s3_dollars_per_million_puts
        + cores * 720 * assumed.core_dollars_per_hour
        + topic * 1e3 * assumed.disk_dollars_per_gb_month
    )
    return Need(drones, messages, pictures, rate, partitions, brokers, cores, topic, kept, lake, objects, dollars)


def tables(measured: Measured, assumed: Assumed) -> Iterator[str]:
    """The tables of the page, line by line."""
    yield "| drones | messages/s | pictures/s | MB/s | partitions of pictures | brokers | worker cores |"
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    needs = [need(drones, measured, assumed) for drones in DRONES]
    for n in needs:
        yield (
            f"| {n.drones:,} | {n.messages_per_second:,.0f} | {n.pictures_per_second:,.1f} "
            f"| {n.megabytes_per_second:,.1f} | {n.partitions:,} | {n.brokers:,} | {n.cores:,} |"
        )
    yield ""
    yield "| drones | topics, TB | pictures, TB | lake, GB a day | objects a day | $ a month |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for n in needs:
        yield (
            f"| {n.drones:,} | {n.topic_tb:,.1f} | {n.pictures_tb:,.0f} | {n.lake_gb_per_day:,.2f} "
            f"| {n.objects_per_day:,.0f} | {n.dollars_per_month:,.0f} |"
        )


if __name__ == "__main__":
    sys.stdout.write("\n".join(tables(Measured(), Assumed())) + "\n")
