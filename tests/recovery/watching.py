"""Processes that read a lake all the time: one compares each look with the ledger and with the look before, the other
reads the Delta tables as any engine would, and compares each version with the one before."""

import random
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple, Self
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from lake import Lake, lake
from lake.storage import storage
from pipelines.maintenance.reconcile import lake_faults
from schemas.lake import BRANCHES, Dataset

SLOWEST = 3.0
"""Seconds that a listing takes at most, of every second look: others go on between a reader's two."""
MOST = 20
"""Faults that are kept."""

_KINDS = (*BRANCHES, Dataset.DEAD_LETTERS)
_HELD = " UNION ALL ".join(f"SELECT '{d}' AS dataset, unit, record FROM {d}_of_all_units" for d in _KINDS)
_SHOWN = " UNION ALL ".join(f"SELECT '{d}' AS dataset, message_id AS id FROM {d}" for d in BRANCHES)
_LETTERS = f"SELECT '{Dataset.DEAD_LETTERS}', path || ':' || \"offset\" FROM {Dataset.DEAD_LETTERS}"
_COUNTS = ", ".join(f"count(*) FILTER (dataset = '{d}') AS {d}" for d in _KINDS)
_DIFFER = " OR ".join(f"coalesce(h.{d}, 0) <> coalesce(l.{d}, 0)" for d in _KINDS)
_CHECKS = {
    "rows stand twice": "(SELECT 1 FROM held GROUP BY unit, record HAVING count(*) > 1)",
    "units have other rows than the ledger says": f"""
        (SELECT unit, {_COUNTS} FROM held GROUP BY unit) h FULL JOIN ledger l USING (unit) WHERE {_DIFFER}""",
    "messages are shown twice": "(SELECT 1 FROM shown GROUP BY id HAVING count(*) > 1)",
    "messages of the look before are not there": "earlier ANTI JOIN shown USING (dataset, id)",
}
NOTHING = pa.table({"dataset": pa.array([], pa.string()), "id": pa.array([], pa.string())})


class Looks(NamedTuple):
    """What the process saw."""

    looks: int
    changes: int
    """At the last one."""
    messages: int
    """And dead letters, at the last one."""
    faults: list[str]


def look(lk: Lake, earlier: pa.Table = NOTHING) -> tuple[list[str], pa.Table]:
    """Hold what a reader sees against the ledger that it saw: each row of each unit once, each message shown once, and
    the statistics say the same.

    Args:
        earlier: what was shown at an earlier look; all of it must still be.

    Returns:
        The faults, and what is shown: dataset, id.
    """
    with lk.connect() as connection:
        connection.register("before", earlier)
        for name, query in {"held": _HELD, "shown": f"{_SHOWN} UNION ALL {_LETTERS}", "earlier": "FROM before"}.items():
            connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        found = {
            what: connection.sql(f"SELECT count(*) FROM {of}").fetchall()[0][0] for what, of in _CHECKS.items()
        } | dict.fromkeys(lake_faults(lk), "")
        shown = connection.sql("FROM shown").to_arrow_table()
    where = f"{lk.ledger.num_rows} units, {lk.changes.num_rows} changes"
    return [f"{where}: {n} {what}" for what, n in found.items() if n != 0], shown


class Watching:
    """While the ``with`` block runs, a process looks at the lake; :meth:`stop` gives what it saw.

    Args:
        tables: look at the Delta tables alone.
    """

    def __init__(self, root: str, tables: bool = False) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        target = _watch_tables if tables else _watch
        self._process = context.Process(target=target, args=(root, theirs), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> Looks:
        """Let it look once more, and end. Raises EOFError where it has ended with an error of its own."""
        self._ours.send(None)
        looks: Looks = self._ours.recv()
        return looks


def _watch(root: str, parent: Connection) -> None:
    dice = random.Random(root)
    kind = type(storage(root))
    at_once = kind.list

    def slowly(self: object, prefix: str) -> list[pafs.FileInfo]:
        found = at_once(self, prefix)  # type: ignore[arg-type]
        time.sleep(dice.uniform(0, SLOWEST))
        return found

    looks, changes, faults, shown = 0, 0, list[str](), NOTHING
    last = False
    while not last:
        last = parent.poll()
        try:
            with patch.object(kind, "list", slowly if looks % 2 else at_once):
                lk = lake(root)
            changes = lk.changes.num_rows
            found, shown = look(lk, shown)
        except (OSError, duckdb.Error) as error:  # a file that the ledger names is not there
            found = [f"{changes} changes: {error}"]
        faults += found
        looks += 1
    parent.send(Looks(looks, changes, shown.num_rows, faults[:MOST]))


def _watch_tables(root: str, parent: Connection) -> None:
    looks, faults = 0, list[str]()
    versions: dict[Dataset, int] = {}
    before: dict[Dataset, pa.Table] = {}
    last = False
    while not last:
        last = parent.poll()
        for dataset in _KINDS:
            try:
                table = DeltaTable(f"{root}/{dataset}", storage_options=storage(root).table_options())
                rows = table.to_pyarrow_table(columns=["unit", "record"])
            except TableNotFoundError:
                continue
            except OSError as error:  # a file that the table has is not there
                faults.append(f"{dataset}: {error}")
                continue
            versions[dataset] = table.version()
            faults += [f"{dataset} {table.version()}: {fault}" for fault in _differences(rows, before.get(dataset))]
            before[dataset] = rows
        looks += 1
        time.sleep(0.1)
    parent.send(Looks(looks, sum(versions.values()), sum(map(len, before.values())), faults[:MOST]))


def _differences(rows: pa.Table, before: pa.Table | None) -> list[str]:
    """Rows that a table has twice, or no longer."""
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        connection.register("earlier", rows if before is None else before)
        twice = connection.sql("SELECT 1 FROM rows GROUP BY unit, record HAVING count(*) > 1").fetchall()
        lost = connection.sql("FROM earlier ANTI JOIN rows USING (unit, record)").fetchall()
    return [f"{len(found)} rows {what}" for found, what in ((twice, "stand twice"), (lost, "are lost")) if found]
