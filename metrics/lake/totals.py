"""Rows of the ledger -> sums, times and places, as the metrics show them."""

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lake.changes import PUBLICATION
from metrics.lake.latency import Latencies
from schemas import history, messages
from schemas.lake import ROWS_IN, ROWS_OUT

COLUMNS: Final = ["unit", "source", "range_start", "range_end", ROWS_IN, *ROWS_OUT, "committed_at"]
"""What is read of the ledger's rows."""
REASONS: Final = frozenset(
    value for reasons in (history.Reason, messages.Reason) for name, value in vars(reasons).items() if name.isupper()
)
OTHER: Final = "other"
"""The label of a reason that is not known: to this version, or since the file was deleted."""
_CHAIN: Final = r"^(?P<chain>.+-kafka-.+-\d{5})-\d{19}$"


class Place(NamedTuple):
    """The committed offsets of a partition."""

    first: int
    """The least one."""
    offsets: int
    """How many there are."""

    @property
    def next(self) -> int:
        """The offset behind them if they were in one piece: units may commit out of order, and behind them are as many
        as are missing."""
        return self.first + self.offsets


class Newest(NamedTuple):
    """The last committed unit of a source."""

    at: float
    """In seconds since the epoch."""
    unit: str


@dataclass
class Totals:
    """Of all rows that were added."""

    units: Counter[str] = field(default_factory=Counter)
    """By source, as the others whose key is one string, but for ``places``."""
    read: Counter[str] = field(default_factory=Counter)
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and dataset."""
    moved: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By source, from which dataset, into which."""
    letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and reason."""
    newest: dict[str, Newest] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    """When the newest committed message was published, in seconds since the epoch."""
    places: dict[str, Place] = field(default_factory=dict)
    """By chain (:func:`lake.merged_ledger.chain_of`)."""
    latencies: Latencies = field(default_factory=Latencies)
    publication: float | None = None
    """When the last one was made, in seconds since the epoch."""

    def copy(self) -> "Totals":
        """A copy to which rows can be added while this one is shown."""
        return deepcopy(self)

    def add_units(self, rows: pa.Table) -> None:
        """Add rows of units, with :data:`COLUMNS`."""
        if not rows.num_rows:
            return
        sums = [(name, "sum") for name in (ROWS_IN, *ROWS_OUT)]
        for row in rows.group_by("source").aggregate([("unit", "count"), *sums]).to_pylist():
            source = row["source"]
            self.units[source] += row["unit_count"]
            self.read[source] += row[f"{ROWS_IN}_sum"]
            self.rows.update({(source, name): row[f"{name}_sum"] or 0 for name in ROWS_OUT})
            of_source = rows.filter(pc.equal(rows["source"], source))
            place = pc.index(of_source["committed_at"], pc.max(of_source["committed_at"])).as_py()
            at = of_source["committed_at"][place].as_py().timestamp()
            if at > self.newest.get(source, Newest(0.0, "")).at:
                self.newest[source] = Newest(at, of_source["unit"][place].as_py())
        self._add_places(rows)

    def _add_places(self, rows: pa.Table) -> None:
        chains = pc.struct_field(pc.extract_regex(rows["unit"], _CHAIN), "chain")
        lengths = pc.subtract(rows["range_end"], rows["range_start"])
        table = pa.table({"chain": chains, "first": rows["range_start"], "offsets": lengths})
        grouped = table.filter(chains.is_valid()).group_by("chain").aggregate([("first", "min"), ("offsets", "sum")])
        for row in grouped.to_pylist():
            before = self.places.get(row["chain"], Place(row["first_min"], 0))
            self.places[row["chain"]] = Place(min(before.first, row["first_min"]), before.offsets + row["offsets_sum"])

    def add_changes(self, rows: pa.Table) -> None:
        """Add rows of changes (of :data:`schemas.lake.LEDGER_ROW`)."""
        at = pc.max(rows.filter(pc.equal(rows["path"], PUBLICATION))["committed_at"]).as_py()
        if at is not None:
            self.publication = max(self.publication or 0.0, at.timestamp())
        moves = pa.Table.from_struct_array(pc.list_flatten(rows["moves"].combine_chunks()))
        source = pc.struct_field(pc.extract_regex(moves["unit"], "^(?P<source>[a-z]+)-"), "source")
        grouped = moves.append_column("source", source).group_by(["source", "out_of", "into"])
        for row in grouped.aggregate([("rows", "sum")]).to_pylist():
            self.moved[row["source"], row["out_of"], row["into"]] += row["rows_sum"]

    def add_letters(self, source: str, reasons: pa.ChunkedArray) -> None:
        """Add dead letters by their reason."""
        for found in pc.value_counts(reasons.cast(pa.string())).to_pylist():
            reason = found["values"] if found["values"] in REASONS else OTHER
            self.letters[source, reason] += found["counts"]
