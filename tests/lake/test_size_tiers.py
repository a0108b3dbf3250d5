"""Small files are merged, and the rows of a large one are not written again for each new file."""

import random

from lake.merge import bins
from lake.reader import LakeFile
from schemas.lake import Dataset, Source

MB = 1 << 20


def file(name: str, size: int) -> LakeFile:
    path = f"{Dataset.QUALIFIED}/source=drones/month=2015-01/{name}.parquet"
    return LakeFile(str(Dataset.QUALIFIED), str(Source.DRONES), path, size // 100, size, None)


def merged(files: list[LakeFile], target: int, name: str) -> tuple[list[LakeFile], int]:
    """A directory after a compaction, and the bytes that this has written."""
    pieces = bins(files, target)
    gone = {each.path for piece in pieces for each in piece.files}
    new = [file(f"change-{name}-{n}", piece.bytes) for n, piece in enumerate(pieces)]
    return [*(each for each in files if each.path not in gone), *new], sum(piece.bytes for piece in pieces)


def test_a_thousand_units_with_a_compaction_every_fifty_are_written_less_than_four_times_more() -> None:
    dice = random.Random(1)
    files, appended, written, most = list[LakeFile](), 0, 0, 0
    for number in range(1_000):
        files.append(file(f"unit-{number:04d}", dice.randrange(8_000, 12_000)))
        appended += files[-1].bytes
        if number % 50 == 49:
            files, more = merged(files, 64 * MB, str(number))
            written += more
            most = max(most, len(files))
    assert 3.8 < written / appended < 4.0  # all each time: 10.5
    assert most <= 4


def test_a_compaction_after_each_unit_writes_each_row_a_few_times() -> None:
    files, appended, written = list[LakeFile](), 0, 0
    for number in range(1_000):
        files, more = merged([*files, file(f"unit-{number:04d}", 10_000)], 64 * MB, str(number))
        appended, written = appended + 10_000, written + more
    assert written / appended < 8  # all each time: 500
    assert len(files) <= 7


def test_what_would_not_become_fewer_stays() -> None:
    assert bins([file("a", 10_000)], MB) == []
    assert bins([file("a", 10_000), file("change-1", 100_000)], MB) == []  # ten times as large
    assert bins([file("a", MB), file("b", MB)], MB) == []  # large enough
    assert [len(piece.files) for piece in bins([file("a", 10_000), file("b", 20_000)], MB)] == [2]


def test_a_merged_file_has_at_most_the_bytes_of_the_target() -> None:
    pieces = bins([file(f"unit-{n}", 300_000) for n in range(10)], MB)
    assert [piece.bytes for piece in pieces] == [900_000] * 3
