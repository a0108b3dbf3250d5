"""The ledger's rows of published units and of changes that all tables have, folded into one Delta table.

A fold adds the rows of some changes, and of the units that they published, in one commit, whose number is that of the
last of these changes. After it the files of these rows are removed from ``ledger``, which so has the tail alone. A file
that comes back there, from a worker that was cut off for a while, changes nothing: the unit is known by the table.

Rows are partitioned by *chain*, the part of a unit's name before its place in its input, so that a look-up of new units
opens no file: within a chain of a stream names grow.
"""

import re
from collections.abc import Iterable
from threading import Lock
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.checksums import sha256, with_checksum
from lake.layout import CHANGE
from lake.storage import storage
from lake.tables import Form, Table, TableFile, find_table, no_files
from schemas.lake import CHANGES, LEDGER_ROW, MERGED_LEDGER

NUMBER: Final = "number"
"""The column with the number of the change that is the row, or that published the unit."""
ROW: Final = pa.schema([*LEDGER_ROW, pa.field(NUMBER, pa.int64())])
CHAIN: Final = "chain"
FORM: Final = Form(MERGED_LEDGER, ROW.append(pa.field(CHAIN, pa.string())), (CHAIN,), "unit")
_CHAINS: Final = (
    re.compile(r"(.+-kafka-.+-\d{5})-\d{19}", re.ASCII),
    re.compile(r"(.+-pubsub-.+)-\d{20}-[0-9a-f]{12}-\d+", re.ASCII),
    re.compile(r"([a-z]+)-\d+-[0-9a-f]{32}", re.ASCII),
)
_OTHERS: Final = "others"
ROW_GROUP: Final = 1 << 14
"""Rows of a row group, which a look-up reads."""
_FANOUT: Final = 16
"""So many files of about one size are merged into one: a row is written log16(rows) times."""


_PARTITION: Final = re.compile(r"(.+-kafka-.+)-\d{5}", re.ASCII)


def kafka_stream(source: str, topic_id: str) -> str:
    """The stream of a topic; the chain of a partition has its number in five digits behind it.

    Args:
        topic_id: another one if the topic is deleted and created again (:meth:`messaging.kafka.Topic.identity`).
    """
    return f"{source}-kafka-{topic_id}"


def stream_of(chain: str) -> str:
    """The stream of a chain: all partitions of a topic are one.

    >>> stream_of("drones-kafka-fleet-00003"), stream_of("drones-pubsub-project.fleet-00003")
    ('drones-kafka-fleet', 'drones-pubsub-project.fleet-00003')
    """
    found = _PARTITION.fullmatch(chain)
    return found[1] if found else chain


def chain_of(unit: str) -> str:
    """The chain of a unit: the partition of a topic, a subscription, or a kind of file; changes are a chain, too.

    >>> chain_of("drones-kafka-fleet-00003-0000000000000001200"), chain_of("history-00003-" + 32 * "a")
    ('drones-kafka-fleet-00003', 'history')
    """
    if unit.startswith(CHANGE):
        return CHANGES
    return next((found[1] for pattern in _CHAINS if (found := pattern.fullmatch(unit))), _OTHERS)


class MergedLedger:
    """The table as it is when it is opened; a lake that was never published has none, which has no rows."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._table = find_table(root, FORM)
        self._look()

    def update(self) -> None:
        """Bring it up to date."""
        if self._table is None:
            self._table = find_table(self._root, FORM)
        else:
            self._table.update()
        self._look()

    def has_grown(self) -> bool:
        """Bring it up to date; whether changes were folded since."""
        before = self.number
        self.update()
        return self.number != before

    def _look(self) -> None:
        self.number = self._table.number if self._table else 0
        """The number of the last change that is in it; 0 for none."""
        self._files: pa.Table | None = None

    @property
    def files(self) -> pa.Table:
        """Its files, as :meth:`lake.tables.Table.files` has them."""
        if self._files is None:
            self._files = self._table.files() if self._table else no_files(FORM)
        return self._files

    @property
    def units(self) -> int:
        """How many units it has."""
        of_units = pc.not_equal(self.files[CHAIN], CHANGES)
        found: int | None = pc.sum(self.files.filter(of_units)["rows"]).as_py()
        return found or 0

    def find(self, units: Iterable[str]) -> set[str]:
        """Which of these units it has."""
        found: set[str] = set(self.rows(units, ["unit"])["unit"].to_pylist())
        return found

    def rows(self, units: Iterable[str], columns: list[str] | None = None) -> pa.Table:
        """The rows of these units, or changes; opens only files that can have one."""
        wanted: dict[str, list[str]] = {}
        for unit in units:
            wanted.setdefault(chain_of(unit), []).append(unit)
        names = pa.array(sorted(name for names in wanted.values() for name in names), pa.string())
        paths = []
        for file in self.files.filter(pc.is_in(self.files[CHAIN], pa.array(sorted(wanted), pa.string()))).to_pylist():
            of_chain = wanted[file[CHAIN]]
            if file["first"] is None or any(file["first"] <= unit <= file["last"] for unit in of_chain):
                paths.append(file["path"])
        return self.dataset(paths).to_table(columns=columns, filter=pads.field("unit").isin(names))

    def changes_in_order(self, where: pads.Expression | None = None) -> pa.Table:
        """The rows of changes, as they were in the ledger: all, or those of which this is true."""
        return self.changes().to_table(filter=where).sort_by(NUMBER).select(LEDGER_ROW.names)

    def changes(self) -> pads.Dataset:
        """The rows of changes (of :data:`ROW`)."""
        return self.dataset(self.files.filter(pc.equal(self.files[CHAIN], CHANGES))["path"].to_pylist())

    def all_units(self) -> pads.Dataset:
        """The rows of all units."""
        return self.dataset(self.files.filter(pc.not_equal(self.files[CHAIN], CHANGES))["path"].to_pylist())

    def chains(self) -> set[str]:
        """The chains of its units."""
        found: set[str] = set(self.files[CHAIN].to_pylist())
        return found - {CHANGES}

    def last(self, chain: str) -> str | None:
        """The unit of a chain with the greatest name."""
        paths = self.files.filter(pc.equal(self.files[CHAIN], chain))["path"].to_pylist()
        found: str | None = pc.max(self.dataset(paths).to_table(columns=["unit"])["unit"]).as_py()
        return found

    def dataset(self, paths: list[str]) -> pads.Dataset:
        """Some of its files as a pyarrow dataset."""
        return _rows_of(self._root, paths)


def _rows_of(root: str, paths: list[str]) -> pads.Dataset:
    if not paths:
        return pads.dataset(ROW.empty_table())
    store = storage(root)
    full = [store.full(path) for path in paths]
    return pads.dataset(full, schema=ROW, format="parquet", filesystem=store.filesystem)


def fold(root: str, number: int, rows: pa.Table) -> bool:
    """Add rows in one commit, which takes the table to this change; whether this call did it.

    Args:
        rows: of :data:`ROW`, those of all changes that it does not have, up to this number, and of their units.
    """
    table = Table(root, FORM, create=True)
    if table.number >= number:
        return False
    there = [(file[CHAIN], TableFile(file["path"], file["rows"], file["bytes"])) for file in table.files().to_pylist()]
    chains = pa.array([chain_of(unit) for unit in rows["unit"].to_pylist()], pa.string())
    added, removed = list[TableFile](), list[str]()
    for chain in sorted(set(chains.to_pylist())):
        new = rows.filter(pc.equal(chains, chain))
        small = _to_merge([file for of, file in there if of == chain], new.num_rows)
        old = _rows_of(root, [file.path for file in small]).to_table()
        added.append(_write(root, chain, pa.concat_tables([old, new])))
        removed += [file.path for file in small]
    return table.commit(number, added, removed, moves_rows=True)


def _to_merge(files: list[TableFile], rows: int) -> list[TableFile]:
    """The files that so many new rows are merged with: those of about the same size, when there are enough."""
    size = max(rows, 1)
    found: list[TableFile] = []
    while len(same := [file for file in files if file.rows < size * _FANOUT and file not in found]) >= _FANOUT - 1:
        found += same
        size = rows + sum(file.rows for file in found)
    return found


def _write(root: str, chain: str, rows: pa.Table) -> TableFile:
    data = with_checksum(rows.sort_by("unit"), ROW_GROUP)
    path = f"{MERGED_LEDGER}/{CHAIN}={chain}/{sha256(data)}.parquet"
    storage(root).put(path, data)
    return TableFile(path, rows.num_rows, len(data))


_tables: Final[dict[str, MergedLedger]] = {}
_lock: Final = Lock()


def folded(root: str, units: Iterable[str]) -> set[str]:
    """Which of these units are folded now."""
    return set(folded_ends(root, units))


def folded_ends(root: str, units: Iterable[str]) -> dict[str, int]:
    """Where the ranges end of those of these units that are folded now."""
    with _lock:
        table = _tables.get(root)
        if table is None:
            table = _tables[root] = MergedLedger(root)
        else:
            table.update()
        rows = table.rows(units, ["unit", "range_end"])
    return dict(zip(rows["unit"].to_pylist(), rows["range_end"].to_pylist(), strict=True))
