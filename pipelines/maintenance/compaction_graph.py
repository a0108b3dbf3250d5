"""Compaction as a graph: bins of small files in, one change of the lake out.

bins ─► Reshuffle ─► Merge ─► Together ─► Commit: one change, in the ledger
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from typing import Final

import apache_beam as beam

from lake import Lake
from lake.changes import Change, discard, put_change
from lake.merge import Bin, Merged, bins, merge
from lake.publication import without_copies
from lake.reader import LakeFile
from schemas.lake import Dataset
from sources.progress import progress

ROUND_BYTES: Final = 8 << 30
"""Bytes of the files that one change merges, about: what a killed compaction does again."""


def plan(lk: Lake, target: int, published: bool | None = True) -> list[Bin]:
    """Which files to merge in one change.

    Args:
        target: size of a merged file, in bytes.
        published: as for :meth:`lake.reader.Lake.entries`; only published files can be merged.
    """
    files: dict[str, list[LakeFile]] = {}
    for file in lk.entries(*Dataset, published=published, below=target // 2):
        files.setdefault(file.path.rpartition("/")[0], []).append(file)
    found = [piece for directory in sorted(files) for piece in bins(files[directory], target)]
    before = accumulate((piece.bytes for piece in found), initial=0)
    return [piece for piece, size in zip(found, before, strict=False) if size < ROUND_BYTES]


def with_checksums(lk: Lake, pieces: list[Bin]) -> list[Bin]:
    """The same with the checksums of their files, which are verified when they are merged."""
    files = iter(lk.with_checksums([file for piece in pieces for file in piece.files]))
    return [piece._replace(files=tuple(islice(files, len(piece.files)))) for piece in pieces]


def compaction(pipeline: beam.Pipeline, root: str, pieces: list[Bin], change: Change) -> beam.PCollection:
    """Build the graph; its last step commits the change with the merged files.

    Args:
        change: with the files that it has besides the merged ones.
    """
    named = [(piece, change.file_name(part)) for part, piece in enumerate(pieces, 1)]
    merged = (
        pipeline
        | "Bins" >> beam.Create(named)
        | "Spread" >> beam.Reshuffle()
        | "Merge" >> beam.ParDo(_Merge(root))
    )  # fmt: skip
    return commit_parts(merged, root, change)


def commit_parts(parts: beam.PCollection, root: str, change: Change) -> beam.PCollection:
    """Collect the parts of a change, all under the key None, and commit it; without a part nothing is committed."""
    return parts | "Together" >> beam.GroupByKey() | "Commit" >> beam.ParDo(_Commit(root, change))


@beam.typehints.with_output_types(tuple[None, Merged])
class _Merge(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, element: tuple[Bin, str]) -> Iterator[tuple[None, Merged]]:
        piece, name = element
        yield None, merge(self._root, piece, name)
        progress.advance(piece.bytes)


class _Commit(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str, change: Change) -> None:
        self._root = root
        self._change = change

    def process(self, element: tuple[None, Iterable[Merged]]) -> None:
        parts = sorted(element[1], key=lambda part: part.replaces)
        put = self._change._replace(
            files=[*self._change.files, *(file for part in parts for file in part.files)],
            replaces=[*self._change.replaces, *(path for part in parts for path in part.replaces)],
            moves=[move for part in parts for move in part.moves],
        )
        if put.moves:  # rows came in, which may be copies of those that are there
            put = without_copies(Lake(self._root), put)
        if not put_change(self._root, put):
            discard(self._root, put)
