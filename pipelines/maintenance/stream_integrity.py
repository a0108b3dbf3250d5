"""Whether plans, floors and spooled segments of a lake's streams agree with its ledger; and notices of what is odd."""

import re
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow.compute as pc

from lake.format import FILE
from lake.ledger import committed_end
from lake.storage import storage
from lake.tombstones import FOLDER as TOMBSTONES
from pipelines.maintenance.integrity import OF_A_STREAM, READS, LakeState, first_line, read_bytes
from schemas.errors import LakeDamaged, NotPermitted, PrestaCopError, ServiceUnavailable
from schemas.files.marks import MARK
from schemas.lake import HEALTH, LEDGER, MERGED_LEDGER, Dataset, Source
from sources.loaded import notes
from sources.streams.plans import CHECKSUM, floors_in, plan_in, read_floors, source_of
from sources.streams.segments import NAME, segment_in, voucher
from sources.units import TOPICS

_PLAN = re.compile(r"^plans/(?P<stream>[^/]+)/(?P<partition>\d{5})/(?P<start>\d{19})\.json$")
_VOUCHER = re.compile(r"^plans/spool/[^/]+/([^/]+)$")
_OWN = frozenset(
    {*Dataset, LEDGER, MERGED_LEDGER, MARK, "pictures", "payloads", "plans", "spool", "again", TOMBSTONES, FILE, HEALTH}
)
"""The names at a lake's root."""
_EARLIER = frozenset({"analysis"})
"""Further names of versions before decision 110."""
_PROBE = ".probe-"
"""Prefix of the files with which commands test whether a place is writable; a killed one leaves them."""
SHOWN = 5
"""Foreign names that are printed."""


def plan_faults(state: LakeState) -> Iterator[str]:
    """Damaged plans and floors, and offsets that are missing in a chain of units.

    Below the floor of a partition the ledger has every unit and plans are deleted; from there on each unit is in the
    ledger or has a plan.
    """
    store = storage(state.root)
    chains: dict[tuple[str, int], _Chain] = defaultdict(lambda: _Chain({}, {}))
    for row in state.as_committed.select(["unit", "range_start", "range_end"]).to_pylist():
        if found := OF_A_STREAM.match(row["unit"]):
            start = int(found[3])
            chains[found[1], int(found[2])].committed[start] = row["range_end"]
            if row["range_start"] != start:
                yield f"unit {row['unit']}: it begins at {row['range_start']:,}, its name says {start:,}"
    floors: dict[str, dict[int, int]] = {}
    with_floors: set[str] = set()
    paths = [store.relative(info.path) for info in store.list("plans")]
    with ThreadPoolExecutor(READS) as pool:
        contents = pool.map(partial(read_bytes, state.root), paths)
        for path, data in zip(paths, contents, strict=True):
            if isinstance(data, str):
                if not _PLAN.match(path):  # a plan may have been deleted since it was listed
                    yield data
            elif found := _PLAN.match(path):
                stream, partition, start = found["stream"], int(found["partition"]), int(found["start"])
                planned = chains[stream, partition].planned
                planned[start] = None
                if CHECKSUM.encode() in data:
                    with_floors.add(stream)
                try:
                    planned[start] = plan_in(data, path).end
                except ValueError as error:
                    unit = f"{stream}-{partition:05d}-{start:019d}"
                    yield f"unit {unit}: its plan {path} is damaged: {first_line(error)}; restore it from a copy"
            elif path.endswith("/floors.json") and path.count("/") == 2:
                stream = path.split("/")[1]
                floors[stream] = {}
                try:
                    floors[stream] = floors_in(data, path)
                except ValueError as error:
                    yield f"{path} is damaged: {first_line(error)}; restore it from a copy"
            elif is_voucher(path):
                if data:
                    yield f"{path} is damaged: it must be empty; empty it"
            elif wrong := notes.fault(path, data):
                yield f"{path} {wrong}"
    for stream in sorted(with_floors - floors.keys()):
        # They are written before the first plan.
        yield f"plans/{stream}/floors.json is missing: restore it from a copy"
    for (stream, partition), chain in sorted(chains.items()):
        yield from _chain_faults(state.root, stream, partition, chain, floors.get(stream, {}).get(partition))


class _Chain(NamedTuple):
    """The units of a partition: where each ends, by where it begins."""

    committed: dict[int, int]
    planned: dict[int, int | None]
    """None where the plan is damaged."""


def _chain_faults(root: str, stream: str, partition: int, chain: _Chain, floor: int | None) -> Iterator[str]:
    place = f"{stream}-{partition:05d}"
    starts = sorted(chain.committed.keys() | chain.planned.keys())
    last = max(chain.committed, default=-1)
    if floor is None and not chain.planned:
        yield (
            f"unit {place}-{last:019d}: it is the last one of its partition in the ledger, and there is neither a plan "
            f"nor a floor of that partition: restore plans/{stream} from a copy; until then no run reads it on"
        )
    reach = at = starts[0]
    is_whole = True
    before = ""
    while True:
        unit = f"{place}-{at:019d}"
        following = starts[after] if (after := bisect_right(starts, at)) < len(starts) else None
        end = chain.committed.get(at)
        if end is None:  # a run that goes on meanwhile may have committed it, and deleted its plan
            end = _committed_now(root, stream, unit)
        if end is not None:
            reach = end if is_whole else reach
            if at >= (floor or 0) and (other := chain.planned.get(at)) is not None and other != end:
                yield f"unit {unit}: it ends at {end:,}, its plan at {other:,}"
        else:
            is_whole = False
            end = chain.planned.get(at)
            if at in chain.planned and at < max(last, floor or 0):
                yield f"unit {unit}: planned and not in the ledger, though what follows is: offsets are missing"
            elif at not in chain.planned and following is not None:
                yield f"unit {before}: it ends at {at:,}, and the next begins at {following:,}: offsets are missing"
        if end is not None and end > at and (following is None or following >= end):
            before, at = unit, end
        elif following is not None:
            if end is not None:
                yield f"unit {unit}: it ends at {end:,}, and the next begins at {following:,}: offsets are in two units"
            before, at = unit, following
        else:
            break
    if floor is not None and floor > reach:
        yield (
            f"{stream}, partition {partition}: the floor is {floor:,}, and the ledger has all units up to {reach:,}: "
            "offsets are missing"
        )


def _committed_now(root: str, stream: str, unit: str) -> int | None:
    """Where a unit ends that the ledger has now, if it has it; a damaged row was reported already."""
    if stream.partition("-")[0] not in list(Source):
        return None
    try:
        return committed_end(root, source_of(stream), unit)
    except (ServiceUnavailable, NotPermitted):
        raise
    except PrestaCopError:
        return None


def is_voucher(path: str) -> bool:
    """Whether the file of this path is the voucher of a spooled segment."""
    found = _VOUCHER.match(path)
    return bool(found and NAME.fullmatch(f"{found[1]}.arrow"))


def spool_faults(state: LakeState) -> Iterator[str]:
    """Spooled segments that are damaged, and those that are missing before they were read."""
    store = storage(state.root)
    vouched = _vouchers(state.root)  # before the segments: they are removed in this order
    for info in store.list("spool"):
        path = store.relative(info.path)
        vouched.discard(voucher(path))
        data = read_bytes(state.root, path)
        if isinstance(data, str):
            continue  # it was read and removed meanwhile
        try:
            deque(segment_in(data, info.base_name), maxlen=0)
        except ValueError as error:
            yield f"{path} is damaged: {first_line(error)}; restore it from a copy"
    # A bucket's rule removes segments that a killed run had read and not removed.
    committed = set(state.as_committed["unit"].to_pylist())
    for path in sorted(vouched & _vouchers(state.root) if vouched else ()):
        unit = PurePosixPath(path).name
        if unit not in committed:
            yield (
                f"unit {unit}: its segment {path.removeprefix('plans/')}.arrow is missing, and its messages were "
                "acknowledged and are not in the lake: restore it from a copy, or, to accept the loss, remove "
                f"{path}"
            )


def _vouchers(root: str) -> set[str]:
    store = storage(root)
    return {path for info in store.list("plans/spool") if is_voucher(path := store.relative(info.path))}


def notices(state: LakeState) -> Iterator[str]:
    """Hints about what is odd though no row is missing: foreign files, and lost notes on loaded files."""
    store = storage(state.root)
    strangers = [name for name in store.names() if name not in _OWN | _EARLIER and not name.startswith(_PROBE)]
    if strangers:
        more = f" and {len(strangers) - SHOWN:,} others" if len(strangers) > SHOWN else ""
        yield (
            f"not part of the lake, at its root: {', '.join(strangers[:SHOWN])}{more}. No command reads them; keep "
            "a lake alone in its folder"
        )
    known = set(state.as_committed["unit"].to_pylist())
    for info in store.list("again"):
        if info.base_name not in known:
            yield f"{store.relative(info.path)} names no unit of the ledger; remove it"
    history = state.as_committed.filter(pc.equal(state.as_committed["source"], str(Source.HISTORY)))
    loaded = {path for path in history["path"].to_pylist() if path.startswith(TOPICS)}
    try:
        there = len(notes.remembered(state.root))
    except LakeDamaged:
        return  # it is a fault
    if there < len(loaded) and _all_committed(state.root):
        yield (
            f"plans/loaded remembers {there:,} files, and the ledger has rows of {len(loaded):,} that came through "
            "topics: the notes on the others were removed. No row is lost or duplicated; what their topics still hold "
            "of them is read again"
        )


def _all_committed(root: str) -> bool:
    """Whether the loader's topics hold nothing that is not in the lake: then plans/loaded has a note on each file."""
    store = storage(root)
    if any(store.relative(info.path).startswith(f"spool/{Source.HISTORY}-") for info in store.list("spool")):
        return False
    last: dict[tuple[str, int], str] = {}
    for info in store.list("plans"):
        found = _PLAN.match(path := store.relative(info.path))
        if found and found["stream"].startswith(f"{Source.HISTORY}-"):
            last[found["stream"], int(found["partition"])] = path  # they are sorted
    try:
        return all(
            read_floors(root, stream).get(partition, 0) >= plan_in(store.read(path), path).end
            for (stream, partition), path in last.items()
        )
    except (ValueError, LakeDamaged, FileNotFoundError):
        return False  # reported already
