"""Small lakes whose every row is known."""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from lake import Lake, lake
from lake.changes import COMPACTION, Change, put_change
from lake.files import in_ledger, write_unit
from lake.large_payloads import store_large_payloads
from lake.merge import merge
from lake.publication import publish, settled
from lake.storage import LocalStorage, S3Storage
from pipelines.maintenance.compaction_graph import plan, with_checksums
from schemas.lake import BRANCHES, Dataset, Source
from sources.payloads import payload_batch
from sources.units import Unit
from tests.support import SUMS
from transforms.messages.payload import Refusal
from transforms.messages.rows import dead_letters
from transforms.qualify import split
from transforms.stats import WindowCounter

S3_NIGHTLY = pytest.mark.parametrize("root", ["local", pytest.param("s3", marks=pytest.mark.nightly)], indirect=True)
"""For tests whose use of S3 quicker ones check (decision 226)."""


class Said(NamedTuple):
    """A message."""

    id: str | None
    second: int = 1_420_000_000
    code: int | None = 21
    """None: a position."""
    area: str | None = "K"
    answers: str | None = None
    """Of an officer's answer: the message that it answers."""
    published: int | None = None
    """When, in seconds since the epoch."""
    drone: str | None = None
    """Content that decides nothing else."""

    @property
    def dataset(self) -> Dataset:
        """Where it belongs."""
        if self.code is None:
            return Dataset.POSITIONS
        return Dataset.QUALIFIED if self.code or self.answers else Dataset.UNQUALIFIED

    @property
    def counted(self) -> str:
        """What statistics count it as."""
        return "answers" if self.answers and self.code is not None else str(self.dataset)


def write(root: str, unit: str, messages: Sequence[Said], window: int = 3600, officers: bool = True) -> dict[str, Any]:
    """Write the files of a unit; gives its row of the ledger, which is not there yet.

    Args:
        officers: not so, the answers are what a drone said, as earlier versions kept it.
    """
    columns = {
        "unit": pa.array([unit] * len(messages), pa.string()).dictionary_encode(),
        "record": np.arange(len(messages)),
        "event_time": pa.array([m.second * 1_000_000 for m in messages], pa.int64()).cast(pa.timestamp("us", "UTC")),
        "violation_code": pa.array([m.code for m in messages], pa.int16()),
        "message_id": pa.array([m.id for m in messages], pa.string()),
        "area": pa.array([m.area for m in messages], pa.string()).dictionary_encode(),
        "kind": pa.array(["position" if m.code is None else "violation" for m in messages]).dictionary_encode(),
        "status": pa.array(["officer" if m.answers and officers else "raw" for m in messages]).dictionary_encode(),
        "answers": pa.array([m.answers for m in messages], pa.string()),
        "officer_id": pa.array(["kelly" if m.answers else None for m in messages], pa.string()).dictionary_encode(),
        "published_at": pa.array(
            [None if m.published is None else m.published * 1_000_000 for m in messages], pa.int64()
        ).cast(pa.timestamp("us", "UTC")),
        "drone_id": pa.array([m.drone for m in messages], pa.string()).dictionary_encode(),
        "summons_number": pa.array([7 if m.id is None else None for m in messages], pa.int64()),
    }
    rows = pa.RecordBatch.from_pydict(columns)
    counter = WindowCounter(window)
    counter.add(rows)
    parts = {**split(rows), Dataset.STATS: counter.counts(unit)}
    files = [file for dataset, part in parts.items() for file in write_unit(root, dataset, Source.DRONES, unit, [part])]
    counts = dict.fromkeys(("dead_letters", "images", "duplicates"), 0) | {
        str(d): sum(m.dataset == d for m in messages) for d in BRANCHES
    }
    place = {"unit": unit, "source": "drones", "path": "fleet.jsonl", "range_start": 0, "range_end": 1}
    return {**place, **counts, "rows_in": len(messages), "counted": len(messages), **in_ledger(files)}


def refuse(root: str, unit: str, payloads: Sequence[bytes]) -> dict[str, Any]:
    """Write the file of a unit whose messages were all refused; gives its row of the ledger, which is not there yet."""
    n = len(payloads)
    place = Unit(Source.DRONES, "fleet.jsonl", 0, n, unit)
    letters = dead_letters(
        place, payload_batch(payloads, range(n), range(n)), [(i, Refusal("empty")) for i in range(n)]
    )
    files = write_unit(root, Dataset.DEAD_LETTERS, Source.DRONES, unit, [store_large_payloads(root, letters)])
    counts = dict.fromkeys(("positions", "qualified", "unqualified", "images", "duplicates", "counted"), 0)
    row = {"unit": unit, "source": "drones", "path": "fleet.jsonl", "range_start": 0, "range_end": n, "rows_in": n}
    return {**row, **counts, "dead_letters": n, **in_ledger(files)}


def ids(lk: Lake, view: str) -> list[str]:
    """Of a view's rows, in order."""
    found: list[str] = lk.sql(f"SELECT message_id FROM {view} ORDER BY unit, record")["message_id"].to_pylist()
    return found


def all_views(lk: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """All that readers see; of the statistics the sums of all units."""
    with lk.connect() as connection:
        views = {view: view for view in [*map(str, Dataset), "duplicates", "conflicts"]} | {"stats": SUMS}
        return {view: connection.sql(f"FROM {rows} ORDER BY ALL").fetchall() for view, rows in views.items()}


def compacted(root: str) -> None:
    """Compact without a runner, which takes half a second for each graph."""
    publish(root)
    lk = lake(root)
    if not (pieces := with_checksums(lk, plan(lk, 1 << 20))):
        return
    change = Change(lk.number + 1, secrets.token_hex(4), COMPACTION)
    parts = [merge(root, piece, change.file_name(n)) for n, piece in enumerate(pieces, 1)]
    done = change._replace(
        files=[*change.files, *(file for part in parts for file in part.files)],
        replaces=[*change.replaces, *(path for part in parts for path in part.replaces)],
    )
    assert put_change(root, done)
    settled(root)


def power_fails_at(patch: pytest.MonkeyPatch, root: str, number: int) -> None:
    """The ``number``th write to the lake and all after it raise OSError."""
    kind = S3Storage if root.startswith("s3://") else LocalStorage
    puts = {"put": kind.put, "put_new": kind.put_new}
    left = iter(range(number - 1, -1, -1))

    def put(self: LocalStorage, path: str, data: bytes, name: str) -> bool:
        if not next(left, 0):
            raise OSError("the power fails")
        return bool(puts[name](self, path, data))  # type: ignore[arg-type]

    patch.setattr(kind, "put", lambda self, path, data: put(self, path, data, "put"))
    patch.setattr(kind, "put_new", lambda self, path, data: put(self, path, data, "put_new"))
