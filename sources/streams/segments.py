"""Segments of a subscription's messages in the lake's spool: the only copy of what was acknowledged.

An empty object of the same path below ``plans/``, the voucher, is written after the segment and before the messages are
acknowledged, and removed before the segment: a voucher without a segment means that messages are lost.
"""

import io
import re
from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa

from lake.checksums import sha256
from lake.ledger import read_back
from lake.storage import storage
from schemas.lake import Source
from sources.payloads import PAYLOADS

NAME: Final = re.compile(r"(?P<unit>.+-(?P<rows>\d{1,18}))\.arrow", re.ASCII)
"""The name of a segment; other files in the spool are ignored."""
_END: Final = b"\xff\xff\xff\xff\0\0\0\0"
"""The end of a stream of Arrow. A checksum follows, except in segments of earlier versions."""
_BATCH_ROWS: Final = 20_000


def vouch(root: str, path: str) -> None:
    """Write the voucher of the segment of this path."""
    storage(root).put(voucher(path), b"")


def voucher(path: str) -> str:
    """The path of a segment's voucher."""
    return f"plans/{path.removesuffix('.arrow')}"


def forget(root: str, path: str) -> None:
    """Remove a segment that is committed."""
    store = storage(root)
    store.delete(voucher(path))
    store.delete(path)


def tidy(root: str, spool: str = "spool") -> int:
    """Remove the segments of committed units, of this folder of the spool or of all, and the vouchers of units whose
    segment is gone (a bucket's rule removes it, when a killed run has left it); returns the number of objects."""
    store = storage(root)
    paths = {store.relative(info.path) for folder in (f"plans/{spool}", spool) for info in store.list(folder)}
    segments = {f"{path.removeprefix('plans/').removesuffix('.arrow')}.arrow" for path in paths}
    done = []
    for path in segments:
        _, _, stream_and_name = path.partition("/")
        stream, _, name = stream_and_name.rpartition("/")
        found = NAME.fullmatch(name)
        source = stream.partition("-")[0]
        if found and source in list(Source) and read_back(root, Source(source), found["unit"]):
            done.append(path)
    vouchers = [voucher(path) for path in done]
    store.delete_all(vouchers)
    store.delete_all(done)
    return len(paths & {*done, *vouchers})


def with_payloads(root: str, has_it: Callable[[bytes], bool]) -> list[str]:
    """The paths of the segments that wait to be read and have a payload of which this is true."""
    store = storage(root)
    paths = [store.relative(info.path) for info in store.list("spool")]
    return [path for path in paths if any(map(has_it, _payloads(root, path)))]


def _payloads(root: str, path: str) -> Iterator[bytes]:
    try:
        data = storage(root).read(path)
    except FileNotFoundError:  # it was read and committed meanwhile
        return
    try:
        for batch in segment_in(data, path.rpartition("/")[2]):
            yield from batch["payload"].to_pylist()
    except ValueError:  # reconcile names it
        yield data


def segment_of(rows: pa.RecordBatch, name: str) -> bytes:
    """Payloads as a segment of this file name: a stream of Arrow, and behind its end, where readers of Arrow stop, the
    SHA-256 of it and the name, as text."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, PAYLOADS, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(pa.Table.from_batches([rows]), max_chunksize=_BATCH_ROWS)
    data = sink.getvalue()
    return data + sha256(data + name.encode()).encode()


def segment_in(data: bytes, name: str) -> Iterator[pa.RecordBatch]:
    """The payloads in a segment of this file name, some at a time. Raises ValueError where it is damaged."""
    found = NAME.fullmatch(name)
    if not found:
        raise ValueError("its name is not that of a segment")
    if not data.endswith(_END) and sha256(data[:-64] + name.encode()).encode() != data[-64:]:
        raise ValueError("its checksum does not match")
    rows = 0
    try:
        with pa.ipc.open_stream(data) as reader:
            for batch in reader:
                rows += batch.num_rows
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    if rows != int(found["rows"]):
        raise ValueError(f"it has {rows:,} messages, by its name {int(found['rows']):,}")
