"""What a lake's own files say of each other: rows of the ledger, changes, plans, floors, and files that nobody names.

Nothing here trusts a file: each is read as a whole, against its checksums, and what cannot be read is a fault with a
name, never an exception.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.changes import merged_ledger, moved, replaced_by
from lake.layout import change_path, ledger_path, months, partitions, unit_of
from lake.storage import storage
from schemas.errors import NotPermitted, ServiceUnavailable, UnsafePath
from schemas.lake import CHANGES, LEDGER, LEDGER_ROW, MERGED_LEDGER, SCHEMAS, Dataset, Source

READS = 8
"""Files of the ledger that are read at once."""
_CHANGE = re.compile(r"^change-(\d{6,})$")
_ATTEMPT = re.compile(r"^change-(\d{6,})-[0-9a-f]+-\d+$")
_OF_A_STREAM = re.compile(r"^(.+-kafka-.+)-(\d{5})-(\d{19})$")
_PLAN = re.compile(r"^plans/(?P<stream>[^/]+)/(?P<partition>\d{5})/(?P<start>\d{19})\.json$")
_NOT_PLANS = "plans/loaded/", "plans/loaded_cells/", "plans/loaded_refused/"
"""What :mod:`sources.loaded` remembers of files."""
_COUNTS = [field.name for field in LEDGER_ROW if field.type == pa.int64()]


class Opened(NamedTuple):
    """What can be read of a lake's ledger."""

    root: str
    as_committed: pa.Table
    """The rows of the ledger as the units wrote them."""
    ledger: pa.Table
    """The same with the counts as they are after the changes."""
    changes: pa.Table
    replaced: frozenset[str]


def opened(root: str) -> tuple[Opened, list[str]]:
    """All of the ledger that can be read, and what is wrong with it."""
    store = storage(root)
    folder = change_path(1).rpartition("/")[0]
    # The changes first: what a change replaces was committed before it.
    paths = [below(root, info.path) for info in store.list(folder)]
    paths += [path for info in store.list(LEDGER) if not (path := below(root, info.path)).startswith(f"{folder}/")]
    with ThreadPoolExecutor(READS) as pool:
        read = list(pool.map(partial(_row, root), paths))
    faults = [f"{path}: {found}" for path, found in zip(paths, read, strict=True) if isinstance(found, str)]
    rows: list[pa.Table] = [found for found in read if isinstance(found, pa.Table)]
    units = [row for row in rows if row["source"][0].as_py() != CHANGES]
    changes = sorted((row for row in rows if row["source"][0].as_py() == CHANGES), key=lambda row: str(row["unit"][0]))
    there = [int(m[1]) for path in paths if (m := _CHANGE.match(PurePosixPath(path).stem))]
    faults += [f"change {number}: its row of the ledger is gone" for number in _missing(there)]
    changed = pa.concat_tables([LEDGER_ROW.empty_table(), *changes])
    committed = pa.concat_tables([LEDGER_ROW.empty_table(), *units]).sort_by("unit")
    replaced = frozenset(replaced_by(changed).to_pylist())
    found = Opened(root, committed, moved(committed, changed), changed, replaced)
    return found, faults


def _missing(numbers: list[int]) -> list[int]:
    return sorted(set(range(1, max(numbers, default=0))) - set(numbers))


def _row(root: str, path: str) -> pa.Table | str:
    """The row in a file of the ledger, or what is wrong with it."""
    found = whole(root, path)
    if isinstance(found, str):
        return found
    try:
        table = pa.Table.from_arrays(
            [
                found[f.name].cast(f.type) if f.name in found.column_names else pa.nulls(found.num_rows, f.type)
                for f in LEDGER_ROW
            ],
            schema=LEDGER_ROW,
        )
        table.validate(full=True)
    except pa.ArrowException as error:
        return f"it is no row of the ledger: {_line(error)}"
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
    if row["range_end"] < row["range_start"] or any(row[name] < 0 for name in _COUNTS):
        return "its range or its counts are below zero"
    return table


def whole(root: str, path: str) -> pa.Table | str:
    """A Parquet file, each of its pages checked, or what is wrong with it."""
    store = storage(root)
    try:
        with store.filesystem.open_input_file(store.full(path)) as file:
            return pq.ParquetFile(file, page_checksum_verification=True).read()
    except FileNotFoundError:
        return f"{path} is not there"
    except UnsafePath:
        return f"{path!r} leads out of the lake"
    except (ServiceUnavailable, NotPermitted):
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"{path} is damaged: {_line(error)}"


def file_faults(root: str, file: dict[str, Any], unit: str | None) -> Iterator[str]:
    """Whether a file is there, undamaged, and holds the rows that the ledger says.

    Args:
        unit: whose rows alone are in it, unless a change has written it.
    """
    table = whole(root, file["path"])
    if isinstance(table, str):
        yield table
        return
    if table.num_rows != file["rows"]:
        yield f"{file['path']} holds {table.num_rows:,} rows, the ledger says {file['rows']:,}"
    store = storage(root)
    size = store.filesystem.get_file_info(store.full(file["path"])).size
    if size != file["bytes"]:
        yield f"{file['path']} has {size:,} bytes, the ledger says {file['bytes']:,}: it was changed"
    if file["dataset"] == LEDGER:
        return
    if not file["path"].startswith(f"{file['dataset']}/source=") or file["dataset"] not in list(Dataset):
        yield f"{file['path']} is no path of {file['dataset']}"
        return
    lacking = [f.name for f in SCHEMAS[Dataset(file["dataset"])] if not f.nullable and f.name not in table.column_names]
    if lacking:
        yield f"{file['path']} has no column {', '.join(lacking)}"
        return
    if unit is not None and table.num_rows and (other := set(pc.unique(table["unit"]).to_pylist()) - {unit}):
        yield f"{file['path']} holds rows of {', '.join(sorted(map(str, other)))}"
    if "month" in partitions(Dataset(file["dataset"])):
        times = np.sort(table["event_time"].combine_chunks().cast(pa.int64()).to_numpy())
        held = {month for month, *_ in months(times)}
        if not all(f"/month={month}/" in file["path"] for month in held):
            yield f"{file['path']} holds rows of {', '.join(sorted(held))}"


def merged_faults(of: Opened) -> Iterator[str]:
    """Whether the file with the ledger's rows of many units holds what the rows themselves say."""
    path = merged_ledger(of.changes)
    if path is None:
        return
    table = whole(of.root, path)
    if isinstance(table, str):
        yield f"merged ledger: {table}"
        return
    own = {row["unit"]: row for row in of.as_committed.to_pylist()}
    for row in table.to_pylist():
        unit = row["unit"]
        if unit not in own:
            yield f"unit {unit}: its row of the ledger is gone; {path} still has it"
        elif any(row[name] != own[unit][name] for name in row if name in own[unit]):
            yield f"unit {unit}: its row of the ledger and that in {path} differ"


def orphan_faults(of: Opened) -> Iterator[str]:
    """Files of datasets that no row of the ledger names, as a removed row leaves them, or a run that was killed."""
    store = storage(of.root)
    named = {file["path"] for t in (of.as_committed, of.changes) for files in t["files"].to_pylist() for file in files}
    found: dict[str, list[str]] = {}
    for folder in (*map(str, Dataset), MERGED_LEDGER):
        for info in store.list(folder):
            path = below(of.root, info.path)
            if path not in named:
                found.setdefault(unit_of(path), []).append(path)
    if not found:
        return
    # What goes on while the lake is looked through has committed some of them by now.
    committed = {PurePosixPath(info.path).stem for info in store.list(LEDGER)}
    for unit, paths in sorted(found.items()):
        attempt = _ATTEMPT.match(unit)
        if attempt and (int(attempt[1]) <= of.changes.num_rows or f"change-{attempt[1]}" in committed):
            continue  # of an attempt that lost, which a vacuum removes, or of a change that came meanwhile
        if attempt:
            said = f"change {int(attempt[1])}: it has files and no row of the ledger: compaction or replay was killed"
        elif (unit in committed and unit not in of.as_committed["unit"].to_pylist()) or is_open(of, unit):
            continue
        else:
            said = f"unit {unit}: it has files and no row of the ledger: the run was killed, or still goes on"
        yield f"{said}, or the row was removed; run the same command again ({len(paths)} files, such as {paths[0]})"


def is_open(of: Opened, unit: str) -> bool:
    """Whether a unit of a stream is planned or spooled, and waits for the next run."""
    store = storage(of.root)
    if found := _OF_A_STREAM.match(unit):
        path = f"plans/{found[1]}/{found[2]}/{found[3]}.json"
        return bool(store.filesystem.get_file_info(store.full(path)).is_file)
    return any(info.base_name == f"{unit}.arrow" for info in store.list("spool"))


def object_faults(of: Opened) -> Iterator[str]:
    """Pictures and large payloads that a row refers to and that are not there."""
    store = storage(of.root)
    sizes: dict[str, int] = {}
    wanted = [(Dataset.IMAGES, "object", "bytes"), (Dataset.DEAD_LETTERS, "payload_object", "payload_bytes")]
    for dataset, path, size in wanted:
        for files in (*of.as_committed["files"].to_pylist(), *of.changes["files"].to_pylist()):
            for file in (f for f in files if f["dataset"] == dataset and f["path"] not in of.replaced):
                table = whole(of.root, file["path"])
                if isinstance(table, str) or path not in table.column_names:
                    continue  # said already; files of earlier versions have no such column
                for row in table.select(["unit", path, size]).filter(table[path].is_valid()).to_pylist():
                    folder = row[path].partition("/")[0]
                    if folder not in sizes:
                        sizes[folder] = 0
                        sizes |= {below(of.root, info.path): info.size for info in store.list(folder)}
                    if row[path] not in sizes:
                        yield f"unit {row['unit']}: {row[path]} is gone"
                    elif sizes[row[path]] != row[size]:
                        yield f"unit {row['unit']}: {row[path]} has {sizes[row[path]]:,} bytes, not {row[size]:,}"


def plan_faults(of: Opened) -> Iterator[str]:
    """Where the chains of plans are broken, and where floors or units do not agree with them."""
    store = storage(of.root)
    committed = {
        (m[1], int(m[2]), int(m[3])): row
        for row in of.as_committed.select(["unit", "range_start", "range_end"]).to_pylist()
        if (m := _OF_A_STREAM.match(row["unit"]))
    }
    chains: dict[tuple[str, int], dict[int, int | None]] = {}
    floors: dict[str, dict[int, int]] = {}
    for info in store.list("plans"):
        path = below(of.root, info.path)
        if found := _PLAN.match(path):
            chain = chains.setdefault((found["stream"], int(found["partition"])), {})
            end = _integer(_json(of.root, path), "end")
            chain[int(found["start"])] = end
            if end is None or end <= int(found["start"]):
                chain[int(found["start"])] = None
                unit = f"{found['stream']}-{found['partition']}-{found['start']}"
                yield f"unit {unit}: its plan {path} is damaged"
        elif path.endswith("/floors.json") and path.count("/") == 2:
            told = _json(of.root, path)
            if not isinstance(told, dict) or not all(
                k.isdigit() and isinstance(v, int) and v >= 0 for k, v in told.items()
            ):
                yield f"{path} is damaged: it must say for each partition an offset"
            else:
                floors[path.split("/")[1]] = {int(k): v for k, v in told.items()}
        elif not path.startswith(_NOT_PLANS):
            yield f"{path} is no plan"
    for (stream, partition, start), row in sorted(committed.items()):
        chain = chains.get((stream, partition), {})
        if start not in chain:
            yield f"unit {row['unit']}: its plan is gone"
        elif chain[start] not in (None, row["range_end"]):
            yield f"unit {row['unit']}: it ends at {row['range_end']:,}, its plan at {chain[start]:,}"
        if row["range_start"] != start:
            yield f"unit {row['unit']}: it begins at {row['range_start']:,}, its name says {start:,}"
    for (stream, partition), chain in sorted(chains.items()):
        yield from _chain_faults(stream, partition, chain, committed, floors)


def _chain_faults(
    stream: str,
    partition: int,
    chain: dict[int, int | None],
    committed: dict[tuple[str, int, int], dict[str, Any]],
    floors: dict[str, dict[int, int]],
) -> Iterator[str]:
    starts = sorted(chain)
    last = max((start for start in starts if (stream, partition, start) in committed), default=-1)
    floor = floors.get(stream, {}).get(partition, 0)
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        unit, end = f"{stream}-{partition:05d}-{start:019d}", chain[start]
        if (stream, partition, start) not in committed and (start < last or start < floor):
            yield f"unit {unit}: planned and not in the ledger, though what follows is: offsets are missing"
        if end is not None and following is not None and end != following:
            yield f"unit {unit}: it ends at {end:,}, and the next plan begins at {following:,}: offsets are missing"
    if starts and (end := chain[starts[-1]]) is not None and floor > end:
        yield f"{stream}, partition {partition}: the floor is {floor:,}, and the plans end at {end:,}: plans are gone"


def below(root: str, full: str) -> str:
    """A path of pyarrow's as one below the lake's root."""
    return full.removeprefix(f"{storage(root).base}/")


def _json(root: str, path: str) -> Any:
    try:
        return json.loads(storage(root).read(path))
    except (ValueError, RecursionError, FileNotFoundError):
        return None


def _integer(value: Any, name: str) -> int | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if type(found) is int else None


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
