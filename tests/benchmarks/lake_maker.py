"""Makes big lakes without the pipeline: files of drone messages, and rows of units whose files were merged long ago.

The units follow each other in time, as those of a stream do, so that a later one overlaps the last files alone.
"""

import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.changes import PUBLICATION, Change, put_change
from lake.files import in_ledger, write_unit
from lake.ledger import commit
from lake.merged_ledger import NUMBER, ROW, fold
from lake.publication import publish, settled
from lake.reader import Lake
from schemas.lake import BRANCHES, DUPLICATES, LEDGER_ROW, MICROSECONDS, Dataset, Source, constant
from sources.streams.plans import Plan, agree, write_floors
from tests.benchmarks.inputs import DiskTooSmall
from transforms.outputs import OUTPUT_DATASETS
from transforms.qualify import split
from transforms.stats import HOUR, WindowCounter

START: Final = round(datetime(2024, 1, 1, 5, tzinfo=UTC).timestamp())
"""Midnight in New York."""
SECONDS: Final = 2 * 365 * 24 * 3600
"""Of the messages of a lake: two years."""
FIRST_NEW: Final = START + SECONDS
"""Events of new units come after those of the lake."""
BYTES_A_MESSAGE: Final = 60
"""In the lake."""
_AREAS: Final = [f"40.{n:02d},-73.9{n % 10}" for n in range(60, 90)]
_DRONES: Final = [f"drone-{n:04d}" for n in range(5_000)]
_KINDS: Final = ("position", "violation")
_STREAM: Final = "drones-kafka-00000000000000000000000000000000"
UNIT_MESSAGES: Final = 1_000_000
FOLDED_UNITS: Final = 100_000
"""Units that are added to the ledger at once."""


def make(root: str, messages: int, units: int) -> int:
    """Make a lake of two years, published unit by unit, and with the rows of further units; gives the number of the
    next unit.

    Args:
        units: how many more units the ledger has, whose files have been merged with those of others.
    """
    number = max(messages // UNIT_MESSAGES, 1)
    for n in range(number):
        part = messages * (n + 1) // number - messages * n // number
        add_unit(root, n, part, START + SECONDS * n // number, SECONDS // number)
        publish(root)
    for first in range(number, number + units, FOLDED_UNITS):
        fold_units(root, first, min(FOLDED_UNITS, number + units - first))
    return number + units


def fold_units(root: str, first: int, n: int) -> None:
    """Add the rows of units to the ledger, as their publication and the fold after it would leave them."""
    number = settled(root).number + 1
    put_change(root, Change(number, secrets.token_hex(4), PUBLICATION))
    numbers = np.arange(first, first + n)
    units = pc.binary_join_element_wise(
        f"{_STREAM}-00000", pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 19, "0"), "-"
    )
    paths = [
        pc.binary_join_element_wise(f"{dataset}/source=drones/month=2024-01/", units, ".parquet", "")
        for dataset in BRANCHES
    ]
    named = [{"dataset": str(dataset), "rows": 10, "bytes": 10_000} for dataset in BRANCHES]
    names = zip(*(path.to_pylist() for path in paths), strict=True)
    files = [[{**file, "path": path} for file, path in zip(named, of_unit, strict=True)] for of_unit in names]
    zeros = {field.name: np.zeros(n, np.int64) for field in LEDGER_ROW if field.type == pa.int64()}
    columns = {
        **zeros,
        "unit": units,
        "source": [str(Source.DRONES)] * n,
        "path": ["kafka:drones/0"] * n,
        "range_start": numbers,
        "range_end": numbers + 1,
        "files": files,
        "committed_at": [datetime.now(UTC)] * n,
        NUMBER: np.full(n, number),
    }
    rows = pa.table(
        {field.name: pa.array(columns.get(field.name, [None] * n), field.type) for field in ROW}, schema=ROW
    )
    change = Lake(root).recent.append_column(NUMBER, pa.array([number], pa.int64())).cast(ROW)
    fold(root, number, pa.concat_tables([rows, change]))
    settled(root)


def add_unit(root: str, number: int, messages: int, start: int, seconds: int) -> str:
    """Write and commit a unit of the stream; gives its name.

    Args:
        number: of the unit; messages of two numbers have different ids.
        start: of the events, seconds since the epoch.
        seconds: that the events take.
    """
    agree(root, _STREAM, 0, number, Plan(number + 1, start * MICROSECONDS))
    write_floors(root, _STREAM, {0: number})
    unit = f"{_STREAM}-00000-{number:019d}"
    rows = messages_of(unit, number, messages, start, seconds)
    counter = WindowCounter(HOUR)
    counter.add(rows)
    parts = {**split(rows), Dataset.STATS: counter.counts(unit)}
    files = [file for dataset, part in parts.items() for file in write_unit(root, dataset, Source.DRONES, unit, [part])]
    counts = dict.fromkeys((*map(str, OUTPUT_DATASETS), DUPLICATES), 0) | {
        str(dataset): parts[dataset].num_rows for dataset in BRANCHES
    }
    place: dict[str, str | int] = {"unit": unit, "source": str(Source.DRONES), "path": "kafka:drones/0"}
    place |= {"range_start": number, "range_end": number + 1}
    commit(root, [{**place, **counts, "rows_in": messages, "counted": messages, **in_ledger(files)}])
    return unit


def messages_of(unit: str, number: int, n: int, start: int, seconds: int) -> pa.RecordBatch:
    """Messages as the steps before writing have them: seven of ten are positions, one of 20 is unqualified."""
    random = np.random.default_rng(number)
    time = np.sort(random.integers(start * MICROSECONDS, (start + seconds) * MICROSECONDS, n))
    kind = random.choice(3, n, p=(0.7, 0.25, 0.05))
    code = np.where(kind == 1, random.integers(1, 99, n), 0)
    columns = {
        "unit": constant(unit, n),
        "record": pa.array(np.arange(n)),
        "event_time": pa.array(time).cast(pa.timestamp("us", "UTC")),
        "message_id": pa.array(_ids(number, n)).cast(pa.string()),
        "drone_id": _chosen(random.integers(0, len(_DRONES), n), _DRONES),
        "sequence": pa.array(np.arange(n)),
        "latitude": pa.array(np.round(random.uniform(40.5, 40.9, n), 5)),
        "longitude": pa.array(np.round(random.uniform(-74.2, -73.7, n), 5)),
        "altitude_m": pa.array(np.round(random.uniform(10, 90, n), 1)),
        "battery_pct": pa.array(np.round(random.uniform(5, 100, n), 1)),
        "status": constant("raw", n),
        "kind": _chosen(np.minimum(kind, 1), list(_KINDS)),
        "violation_code": pa.array(code.astype(np.int16), mask=kind == 0),
        "plate_id": pa.array(random.integers(10**6, 10**7, n), mask=kind == 0).cast(pa.string()),
        "area": _chosen(random.integers(0, len(_AREAS), n), _AREAS),
        "published_at": pa.array(time + MICROSECONDS).cast(pa.timestamp("us", "UTC")),
    }
    return pa.RecordBatch.from_pydict(columns)


def check_room(folder: Path, messages: int) -> None:
    """Raises DiskTooSmall where a lake of so many messages, and its merged copy, does not fit."""
    needed, free = 2.5 * messages * BYTES_A_MESSAGE, shutil.disk_usage(folder).free
    if free < needed:
        raise DiskTooSmall(
            f"{folder} has {free / 1e9:.1f} GB free, {messages:,} messages need {needed / 1e9:.1f} GB; "
            "use --data for another disk, or fewer --messages"
        )


def _ids(number: int, n: int) -> npt.NDArray[np.uint64]:
    """Numbers that no two messages share and that do not compress: splitmix64 of a counter."""
    with np.errstate(over="ignore"):
        x = (np.arange(n, dtype=np.uint64) + np.uint64(number << 32)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _chosen(places: npt.NDArray[np.int64], words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(words))
