"""Whether a lake's files agree: rows of the ledger, changes, data files, and files that the ledger does not name.

No file is trusted: its checksum is verified before its content is used, and what cannot be read is reported as a fault,
not raised.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.changes import attempted_change, replaced_by
from lake.checksums import own_checksum_holds, sha256
from lake.format import check
from lake.layout import CHANGE, change_path, depends_on_pictures, ledger_path, months, partitions, unit_of
from lake.merged_ledger import MergedLedger
from lake.reader import check_is_there
from lake.storage import storage
from lake.tables import LOG
from lake.views import with_moves
from schemas.errors import NotPermitted, PrestaCopError, ServiceUnavailable, UnsafePath
from schemas.lake import CHANGES, LEDGER, LEDGER_ROW, MERGED_LEDGER, Dataset, Source, value_counts, with_all_columns
from terminal.printing import number_of

READS = 8
"""Files that are read in parallel."""
_CHANGE = re.compile(r"^change-(\d{6,})$")
_ATTEMPT_AT = re.compile(r"^change-(\d{6,})-")
OF_A_STREAM = re.compile(r"^(.+-kafka-.+)-(\d{5})-(\d{19})$")
_OBJECT = re.compile(r"^(?:pictures|payloads)/[0-9a-f]{2}/([0-9a-f]{64})(?:\.jpg)?$")
_DATA = re.compile(rf"^(?:{'|'.join(Dataset)})/source=\w+/(?:month=[^/]+/)?[^/]+\.parquet$")
_FOLDED = re.compile(rf"^{MERGED_LEDGER}/(?:chain=[^/]+/[0-9a-f]{{64}}\.parquet|change-[^/]+\.parquet|{LOG}/.+)$")
_COUNTS = [field.name for field in LEDGER_ROW if field.type == pa.int64()]


class LakeState(NamedTuple):
    """The part of a lake's ledger that can be read."""

    root: str
    as_committed: pa.Table
    """The rows of the ledger as the units wrote them."""
    ledger: pa.Table
    """The same with the counts as they are after the changes."""
    changes: pa.Table
    replaced: frozenset[str]

    def files(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All files that rows name, as :func:`named_files` has them, each with the name of its unit or change."""
        for row in (*self.as_committed.to_pylist(), *self.changes.to_pylist()):
            for file in named_files(row):
                yield row["unit"], file


def read_state(root: str) -> tuple[LakeState, list[str]]:
    """The readable part of the ledger, and the faults of the rest."""
    check(root)
    store = storage(root)
    merged = MergedLedger(root)
    check_is_there(root, merged)
    folded = [_folded(root, file) for file in merged.files.to_pylist()]
    faults = [found for found in folded if isinstance(found, str)]
    old = pa.concat_tables([LEDGER_ROW.empty_table(), *(found for found in folded if isinstance(found, pa.Table))])
    folder = change_path(1).rpartition("/")[0]
    # The changes first: what a change replaces was committed before it.
    paths = [store.relative(info.path) for info in store.list(folder)]
    paths += [path for info in store.list(LEDGER) if not (path := store.relative(info.path)).startswith(f"{folder}/")]
    known = {*old["unit"].to_pylist(), *(f"{CHANGE}{number:06d}" for number in range(merged.number + 1))}
    paths = [path for path in paths if PurePosixPath(path).stem not in known]  # to be removed by the next publication
    with ThreadPoolExecutor(READS) as pool:
        read = list(pool.map(partial(_row, root), paths))
    faults += [f"{path}: {found}" for path, found in zip(paths, read, strict=True) if isinstance(found, str)]
    rows: list[pa.Table] = [found for found in read if isinstance(found, pa.Table)]
    everything = pa.concat_tables([old, *rows])
    is_change = pc.equal(everything["source"], CHANGES)
    changes, units = everything.filter(is_change).sort_by("unit"), everything.filter(pc.invert(is_change))
    there = [int(m[1]) for unit in changes["unit"].to_pylist() if (m := _ATTEMPT_AT.match(unit))]
    faults += [f"change {n}: its row of the ledger, {change_path(n)}, is missing" for n in _missing(there)]
    replaced = frozenset(replaced_by(changes).to_pylist())
    found = LakeState(root, units.sort_by("unit"), with_moves(units, changes), changes, replaced)
    return found, faults


def _folded(root: str, file: dict[str, Any]) -> pa.Table | str:
    """The rows in a file of the merged ledger, or its fault."""
    path = file["path"]
    data = read_bytes(root, path)
    if isinstance(data, str):
        return data
    if not own_checksum_holds(data) or f"/{sha256(data)}.parquet" not in path:
        return f"{path} is damaged: its checksum does not match; restore it from a copy"
    table = _table(path, data)
    if isinstance(table, pa.Table) and table.num_rows != file["rows"]:
        return f"{path} holds {table.num_rows:,} rows, its table says {file['rows']:,}"
    return table.select(LEDGER_ROW.names) if isinstance(table, pa.Table) else table


def _missing(numbers: list[int]) -> list[int]:
    return sorted(set(range(1, max(numbers, default=0))) - set(numbers))


def _row(root: str, path: str) -> pa.Table | str:
    """The row in a file of the ledger, or its fault."""
    data = read_bytes(root, path)
    if isinstance(data, str):
        return data
    holds = own_checksum_holds(data)
    if holds is False:
        return "it is damaged: its checksum does not match"
    found = _table(path, data)
    if isinstance(found, str):
        return found
    if holds is None and "sha256" in found.column_names:
        return "it is damaged: its checksum is missing"
    try:
        table = with_all_columns(found, LEDGER_ROW)
        table.validate(full=True)
    except pa.ArrowException as error:
        return f"it is not a row of the ledger: {first_line(error)}"
    if table.num_rows != 1:
        return f"it holds {table.num_rows} rows, not one"
    row: dict[str, Any] = table.to_pylist()[0]
    missing = [f.name for f in LEDGER_ROW if not f.nullable and row[f.name] is None]
    if missing:
        return f"it has no {', '.join(missing)}"
    if row["source"] == CHANGES:
        number = _CHANGE.match(PurePosixPath(path).stem)
        if not number or not row["unit"].startswith(f"{number[0]}-") or f"source={CHANGES}/" not in path:
            return f"it holds the row of {row['unit']}"
    elif row["source"] not in list(Source) or ledger_path(Source(row["source"]), row["unit"]) != path:
        return f"it holds the row of {row['source']} {row['unit']}"
    if row["sha256"] is not None and len(row["sha256"]) != len(row["files"]):
        return f"it names {len(row['files'])} files and {len(row['sha256'])} checksums"
    if row["range_end"] < row["range_start"] or any(row[name] < 0 for name in _COUNTS):
        return "its range or its counts are below zero"
    return table


def read_bytes(root: str, path: str) -> bytes | str:
    """The bytes of a file, or why it cannot be read."""
    try:
        return storage(root).read(path)
    except FileNotFoundError:
        return f"{path} is missing"
    except UnsafePath:
        return f"{path!r} leads out of the lake"
    except (ServiceUnavailable, NotPermitted):
        raise
    except PrestaCopError as error:
        return f"{path} cannot be read: {first_line(error)}"


def _table(path: str, data: bytes, columns: Sequence[str] | None = None, all_pages: bool = True) -> pa.Table | str:
    """Columns of a Parquet file (all if none are named), or its fault.

    Args:
        all_pages: check the pages of the other columns, too.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        names = [name for name in file.schema_arrow.names if columns is None or name in columns]
        # In batches: the other columns may unpack to any size.
        batches = [b.select(names) for b in file.iter_batches(columns=None if all_pages else names)]
        return pa.Table.from_batches(batches, pa.schema([file.schema_arrow.field(name) for name in names]))
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        return f"{path} is damaged: {first_line(error)}"


def read_columns(root: str, file: dict[str, Any], columns: Sequence[str]) -> pa.Table | str:
    """Columns of a data file, after it was verified to be the file that was written; or its fault.

    Args:
        file: as the ledger names it; without ``sha256`` (of an earlier version) all its pages are read and checked.
        columns: the columns to read; those that it does not have are left out.
    """
    data = read_bytes(root, file["path"])
    if isinstance(data, str):
        return data
    if file["sha256"] is not None and sha256(data) != file["sha256"]:
        return (
            f"{file['path']} was changed: {len(data):,} bytes, the ledger says {file['bytes']:,}, and its SHA-256 does "
            "not match; restore it from a copy"
        )
    if len(data) != file["bytes"]:
        return f"{file['path']} has {len(data):,} bytes, the ledger says {file['bytes']:,}: it was changed"
    return _table(file["path"], data, columns, all_pages=file["sha256"] is None)


def named_files(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The files that a row of the ledger names, each with its ``sha256``, which is None where the row has none."""
    checksums = row["sha256"] or [None] * len(row["files"])
    return ({**file, "sha256": checksum} for file, checksum in zip(row["files"], checksums, strict=True))


def without_checksum(state: LakeState) -> int:
    """How many live files have no checksum in the ledger."""
    return sum(file["sha256"] is None and file["path"] not in state.replaced for _, file in state.files())


class FileCheck(NamedTuple):
    """What was found in a data file."""

    faults: list[str]
    units: Counter[str]
    """Rows by unit; empty where the file has a fault."""


def check_file(root: str, file: dict[str, Any], unit: str | None) -> FileCheck:
    """Check that a file exists, is undamaged, and holds the rows that the ledger says.

    Args:
        file: of :func:`named_files`.
        unit: the only unit whose rows may be in it; None for a file of a change.
    """
    counted: Counter[str] = Counter()
    try:
        faults = list(_file_faults(root, file, unit, counted))
    except (pa.ArrowException, ValueError, OverflowError) as error:  # columns of other types, times of no calendar
        faults = [f"{file['path']} is damaged: {first_line(error)}"]
    return FileCheck(faults, Counter() if faults else counted)


def replaced_faults(state: LakeState) -> Iterator[str]:
    """Replaced files that no vacuum has removed, and whose content has changed."""
    for writer, file in state.files():
        if file["path"] in state.replaced and file["sha256"] is not None:
            try:
                data = storage(state.root).read(file["path"])
            except (FileNotFoundError, UnsafePath):
                continue  # a vacuum has removed it; a path out of the lake was reported already
            if sha256(data) != file["sha256"]:
                yield (
                    f"{writer}: {file['path']} was changed after it was replaced; only readers that opened the lake "
                    "before read it: remove it, or let prestacop compact --vacuum do so"
                )


def _file_faults(root: str, file: dict[str, Any], unit: str | None, counted: Counter[str]) -> Iterator[str]:
    path, dataset = file["path"], file["dataset"]
    if dataset == LEDGER:  # a copy of rows, which earlier versions wrote
        return
    if dataset not in list(Dataset) or not path.startswith(f"{dataset}/source="):
        yield f"{path!r} is not a path of {dataset}"
        return
    needed = ["unit", *(["event_time"] if "month" in partitions(Dataset(dataset)) else [])]
    if isinstance(table := read_columns(root, file, needed), str):
        yield table
        return
    if lacking := [name for name in needed if name not in table.column_names]:
        yield f"{path} has no column {', '.join(lacking)}"
        return
    if table.num_rows != file["rows"]:
        yield f"{path} holds {table.num_rows:,} rows, the ledger says {file['rows']:,}"
    counted.update(value_counts(table["unit"].cast(pa.string())))
    if unit is not None and (other := counted.keys() - {unit}):
        yield f"{path} holds rows of {', '.join(sorted(map(str, other)))}"
    if "event_time" in needed:
        times = np.sort(table["event_time"].combine_chunks().cast(pa.int64()).to_numpy())
        found = {month for month, *_ in months(times)}
        if not all(f"/month={month}/" in path for month in found):
            yield f"{path} holds rows of {', '.join(sorted(found))}"


def orphan_faults(state: LakeState) -> Iterator[str]:
    """Files of datasets that no row of the ledger names: the row was removed, or a run was killed."""
    store = storage(state.root)
    named = {file["path"] for _, file in state.files()}
    found: dict[str, list[str]] = {}
    for folder in Dataset:
        for info in store.list(folder):
            path = store.relative(info.path)
            if path.startswith(f"{folder}/{LOG}/"):
                continue  # of the dataset's table
            if not _DATA.match(path):
                yield f"{path} is not a file of the dataset; readers that list the directory would read it: remove it"
            elif path not in named and attempted_change(path) is None:
                found.setdefault(unit_of(path), []).append(path)
    for info in store.list(MERGED_LEDGER):
        if not _FOLDED.match(path := store.relative(info.path)):
            yield f"{path} is not a file of the merged ledger: remove it"
    if not found:
        return
    # Runs that go on meanwhile may have committed some of them by now.
    committed = {PurePosixPath(info.path).stem for info in store.list(LEDGER)}
    known = set(state.as_committed["unit"].to_pylist())
    attempts = {unit_of(path) for path in (*named, *chain(*found.values())) if depends_on_pictures(path)}
    for unit, paths in sorted(found.items()):
        if unit in known:
            if unit in attempts:
                continue  # an attempt that found other uploaded pictures
            yield f"unit {unit}: its row of the ledger does not name {', '.join(paths)}; no reader opens it: remove it"
        elif unit not in committed and not is_open(state, unit):
            yield (
                f"unit {unit}: it has files and no row of the ledger: the run was killed, or is still running, or the "
                "row was removed; run the same command again, or, if its input is gone, restore the row from a copy "
                f"({len(paths)} files, such as {paths[0]})"
            )


def uncommitted_changes(state: LakeState) -> Iterator[str]:
    """A notice on changes later than the last one that have files. No reader opens these, and what the change was to
    replace is still there. Where the row of a committed change was removed, the tables are ahead, which is a fault."""
    store, found = storage(state.root), Counter[int]()
    for folder in Dataset:
        found.update(attempted_change(info.path) or 0 for info in store.list(folder))
    committed = {PurePosixPath(info.path).stem for info in store.list(change_path(1).rpartition("/")[0])}
    for number in sorted(number for number in found if number > state.changes.num_rows):
        if PurePosixPath(change_path(number)).stem not in committed:
            yield (
                f"change {number} has {number_of(found[number], 'file')} and no row of the ledger: a publication, "
                "compaction or replay was killed, or is still running. No row is lost: a publication repeats itself, "
                "and the other commands are run again. After the next change prestacop compact --deep deletes the files"
            )


def is_open(state: LakeState, unit: str) -> bool:
    """Whether a unit of a stream is planned or spooled and will be read by the next run."""
    store = storage(state.root)
    if found := OF_A_STREAM.match(unit):
        return store.is_file(f"plans/{found[1]}/{found[2]}/{found[3]}.json")
    return any(info.base_name == f"{unit}.arrow" for info in store.list("spool"))


def object_faults(state: LakeState) -> Iterator[str]:
    """Pictures and large payloads that are damaged, and those that a row refers to and are missing."""
    store = storage(state.root)
    sizes: dict[str, int] = {}
    for folder in ("pictures", "payloads"):
        found = {store.relative(info.path): info.size for info in store.list(folder)}
        with ThreadPoolExecutor(READS) as pool:
            yield from filter(None, pool.map(partial(_object_fault, state.root), found))
        sizes |= found
    columns = {Dataset.IMAGES: ("object", "bytes"), Dataset.DEAD_LETTERS: ("payload_object", "payload_bytes")}
    for _, file in state.files():
        if file["dataset"] not in columns or file["path"] in state.replaced:
            continue
        path, size = columns[file["dataset"]]
        table = read_columns(state.root, file, ["unit", path, size])
        if isinstance(table, str) or path not in table.column_names:
            continue  # reported already; files of earlier versions have no such column
        for referring in table.filter(table[path].is_valid()).to_pylist():
            there = sizes.get(referring[path])
            if there is None:
                yield f"unit {referring['unit']}: {referring[path]} is missing"
            elif there != referring[size]:
                yield f"unit {referring['unit']}: {referring[path]} has {there:,} bytes, not {referring[size]:,}"


def _object_fault(root: str, path: str) -> str | None:
    """The fault of an object that is named by its content; None where it has none."""
    found = _OBJECT.match(path)
    if not found:
        return f"{path} is not the name of a picture or payload; nothing refers to it: remove it"
    data = read_bytes(root, path)
    if isinstance(data, str):
        return data
    return None if sha256(data) == found[1] else f"{path} was changed: its SHA-256 is not its name; restore it"


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
