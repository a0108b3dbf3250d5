"""Units larger than memory are read, written and replayed in parts of bounded bytes, the same in each attempt."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import lake
from lake.large_payloads import BEGINNING_BYTES, MAX_INLINE_BYTES, bounded, fetch_large_payloads, store_large_payloads
from lake.layout import part_name, unit_of
from lake.ledger import commit
from lake.vacuum import vacuum
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.replay import replay
from pipelines.violations.graph import Reading, Settings, violations
from schemas.decoding import load_object
from schemas.lake import DEAD_LETTER, LEDGER_ROW, Dataset, Source
from schemas.messages import Reason
from sources.payloads import payload_batch
from sources.streams.base import Planner, Stream
from sources.units import Parts, Unit
from tests.lake.versions.make import MESSAGE
from tests.lakes import refuse
from tests.support import LOCAL
from transforms.messages.payload import Refusal
from transforms.messages.rows import dead_letters

UNIT = Unit(Source.DRONES, "kafka:fleet/0", 0, 4, "drones-00000-of-a-fake")


class FakeStream(Stream):
    """A topic with these messages, in batches of so many."""

    source = Source.DRONES
    path = "fake"

    def __init__(self, messages: list[bytes], step: int) -> None:
        self._messages, self._step = messages, step

    def everything(self, root: str) -> list[Unit]:
        raise NotImplementedError

    def forget(self, units: Iterable[Unit], root: str) -> None:
        raise NotImplementedError

    def planner(self, root: str) -> Planner:
        raise NotImplementedError

    def waiting(self, root: str) -> str:
        raise NotImplementedError

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(self._messages), self._step):
            records = range(start, min(start + self._step, len(self._messages)))
            yield payload_batch([self._messages[n] for n in records], records, records)


def read(root: Path, messages: list[bytes], step: int = 2) -> None:
    """Run the graph over one unit of these."""
    inputs = {Source.DRONES: Reading(FakeStream(messages, step).read([UNIT], str(root)))}
    with beam.Pipeline(options=LOCAL) as pipeline:
        violations(pipeline, inputs, Settings(str(root), 3600))


def message(number: int, **changed: object) -> bytes:
    """A violation."""
    return json.dumps(MESSAGE | {"message_id": f"m{number}", "sequence": number} | changed).encode()


def files_of(root: Path) -> dict[str, bytes]:
    """Every file of rows, by its path in the lake."""
    paths = (path for dataset in Dataset for path in (root / str(dataset)).rglob("*.parquet"))
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_parts_end_before_the_batch_that_would_make_them_too_large() -> None:
    parts = Parts(1_000)
    sizes = [600, 300, 600, 2_000, 1, 1]
    assert [parts.of(0, size) for size in sizes] == [0, 0, 1, 2, 3, 3]
    parts = Parts(1_000)
    assert [parts.of(7, 0) for _ in range(3)] == [0, 1, 2]  # rows of empty payloads take memory too


def test_a_part_has_the_name_of_its_unit() -> None:
    assert part_name(UNIT.name, 0) == UNIT.name
    for part in (0, 1, 20_000):
        for name in (UNIT.name, "drones-pubsub-a.b-c%d~e-0001-ab-7", "change-000001-ab-1"):
            assert unit_of(f"positions/source=drones/month=2015-01/{part_name(name, part)}.parquet") == name


def test_a_unit_that_is_too_large_is_several_files_the_same_in_each_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.streams.base.PART_BYTES", 4_000)
    sent = [message(n) if n % 3 else b"spoiled %d" % n for n in range(40)] + [message(1), message(38)]
    for name in ("once", "again"):
        read(tmp_path / name, sent)
    once = files_of(tmp_path / "once")
    assert once == files_of(tmp_path / "again")
    rows = [path for path in once if path.startswith("qualified/")]
    assert len(rows) > 2
    assert {unit_of(path) for path in once} == {UNIT.name}
    assert sum(path.endswith(f"/{UNIT.name}.parquet") for path in rows) == 1  # the first part's name is the unit's
    assert sum(path.startswith("stats/") for path in once) == 1
    assert reconcile(str(tmp_path / "once")) == []
    (row,) = lake(str(tmp_path / "once")).ledger.to_pylist()
    assert (row["rows_in"], row["qualified"], row["dead_letters"], row["duplicates"]) == (42, 26, 14, 2)
    assert {file["path"] for file in row["files"]} == once.keys()


def test_a_unit_of_one_part_has_the_file_names_of_earlier_versions(tmp_path: Path) -> None:
    read(tmp_path, [message(1), b"spoiled"])
    assert {Path(path).name for path in files_of(tmp_path)} == {f"{UNIT.name}.parquet"}


@pytest.mark.embedded
def test_compaction_leaves_duplicates_out_of_each_part_of_a_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.streams.base.PART_BYTES", 2_000)
    root = tmp_path / "lake"
    read(root, [message(n) for n in range(20)])
    other = UNIT.name.replace("00000", "00001")
    monkeypatch.setattr(sys.modules[__name__], "UNIT", UNIT.__class__(**{**UNIT.__dict__, "name": other}))
    read(root, [message(n) for n in (1, 8, 15, 30)])
    assert compact(str(root), 128 << 20, LOCAL)
    assert reconcile(str(root)) == []
    assert lake(str(root)).sql("SELECT count(*) AS n, count(DISTINCT message_id) AS d FROM qualified").to_pylist() == [
        {"n": 21, "d": 21}
    ]
    assert lake(str(root)).ledger["duplicates"].to_pylist() == [0, 3]


LARGE = message(7, note="x" * (MAX_INLINE_BYTES + 1))


@pytest.mark.embedded
def test_a_large_refused_payload_is_an_object_and_replayed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    read(tmp_path, [LARGE, b"small", message(1), LARGE])
    digest = hashlib.sha256(LARGE).hexdigest()
    letters = lake(root).sql("FROM dead_letters ORDER BY record").to_pylist()
    path = f"payloads/{digest[:2]}/{digest}"
    found = [(letter["payload"], letter["payload_bytes"], letter["payload_object"]) for letter in letters]
    beginning = LARGE[:BEGINNING_BYTES], len(LARGE), path
    assert found == [beginning, (b"small", None, None), beginning]
    assert (tmp_path / path).read_bytes() == LARGE
    assert [p for p in (tmp_path / "payloads").rglob("*") if p.is_file()] == [tmp_path / path]
    assert reconcile(root) == []
    assert replay(root, Reason.TOO_LARGE, LOCAL) is None  # still too large, and still an object
    monkeypatch.setattr("transforms.messages.json_v1.MAX_BYTES", 4 << 20)
    monkeypatch.setattr("transforms.messages.payload.load_object", partial(load_object, max_bytes=4 << 20))
    monkeypatch.setattr("lake.large_payloads.AT_ONCE_BYTES", 1 << 20)
    assert replay(root, Reason.TOO_LARGE, LOCAL)
    assert reconcile(root) == []
    assert lake(root).sql("SELECT message_id, length(extra['note']) AS n FROM qualified ORDER BY ALL").to_pylist() == [
        {"message_id": "m1", "n": None},
        {"message_id": "m7", "n": MAX_INLINE_BYTES + 3},
    ]
    assert (tmp_path / path).read_bytes() == LARGE


def test_payloads_are_checked_in_and_out_unchanged(tmp_path: Path) -> None:
    payloads = [b"", b"a" * MAX_INLINE_BYTES, b"b" * (MAX_INLINE_BYTES + 1), b"c"]
    rows = dead_letters(UNIT, payload_batch(payloads, range(4), range(4)), [(n, Refusal("empty")) for n in range(4)])
    stored = store_large_payloads(str(tmp_path), rows)
    assert stored.schema == DEAD_LETTER
    assert [path is not None for path in stored["payload_object"].to_pylist()] == [False, False, True, False]
    back = list(fetch_large_payloads(str(tmp_path), pa.Table.from_batches([stored])))
    assert pa.Table.from_batches(back).equals(pa.Table.from_batches([rows]))


def test_runs_of_rows_end_at_the_bound() -> None:
    sizes = pa.array([5, 5, 1, 30, 0, 9]).to_numpy()
    assert list(bounded(sizes, 10)) == [(0, 2), (2, 4), (4, 6)]
    assert list(bounded(sizes[:0], 10)) == []
    assert list(bounded(sizes, 1)) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 6)]


MEMORY = """
import resource, sys
import tests.pipelines.violations.test_limits as limits
from pathlib import Path

class Endless(list):  # so that the messages themselves take no memory
    def __getitem__(self, n):
        return b"\\xff%07d" % n + b"x" * 60_000
    def __len__(self):
        return 7_000

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
limits.read(Path(sys.argv[1]), Endless(), 140)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.embedded
def test_a_unit_of_420_mb_of_refused_messages_stays_within_the_bound_of_a_workers_memory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 700 << 10  # KiB; all at once it takes 1.9 GB
    letters = list((tmp_path / "dead_letters").rglob("*.parquet"))
    assert sum(pq.ParquetFile(path).metadata.num_rows for path in letters) == 7_000
    assert len(letters) == 4


def unpacked(path: Path) -> int:
    """Bytes of a file's columns before they are compressed."""
    metadata = pq.ParquetFile(path).metadata
    return sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))


@pytest.mark.embedded
def test_a_merged_file_is_bounded_by_what_it_unpacks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.merge.MAX_BYTES", 300_000)
    monkeypatch.setattr("lake.merge.BATCH_BYTES", 100_000)
    root = str(tmp_path)
    for number in range(8):
        commit(root, [refuse(root, f"drones-{number:05d}", [b"x" * 2_000] * 50)])
    query = "SELECT unit, record, payload FROM dead_letters ORDER BY ALL"
    before = lake(root).sql(query)
    assert compact(root, 64 << 20, LOCAL)
    files = lake(root).files(Dataset.DEAD_LETTERS)
    assert [path.rpartition(".part-")[2] for path in files] == [f"0000{n}.parquet" for n in (1, 2, 3, 4)]
    assert all(unpacked(tmp_path / path) < 400_000 for path in files)
    assert lake(root).sql(query).equals(before)
    assert reconcile(root) == []
    assert compact(root, 64 << 20, LOCAL) is None  # small as they are, they are full
    for number in range(8, 12):
        commit(root, [refuse(root, f"drones-{number:05d}", [b"x" * 2_000] * 50)])
    assert compact(root, 64 << 20, LOCAL)
    stray = tmp_path / re.sub(r"(change-\d{6})-\w+", r"\1-0f", files[1])
    stray.write_bytes(b"of an attempt that was killed")
    monkeypatch.setattr("lake.vacuum._SURE", timedelta(0))
    assert vacuum(root, timedelta(0), deep=True).files > 12
    assert not stray.exists()
    assert reconcile(root) == []
    assert lake(root).sql("SELECT count(*) AS n FROM dead_letters").to_pylist() == [{"n": 600}]


def test_a_file_of_an_earlier_version_that_is_too_large_when_unpacked_is_rewritten_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.merge.MAX_BYTES", 300_000)
    root = str(tmp_path)
    commit(root, [refuse(root, "drones-1", [b"x" * 2_000] * 400)])
    (path,) = (tmp_path / "dead_letters").rglob("*.parquet")
    pq.write_table(pq.ParquetFile(path).read(), path)  # with a dictionary of payloads: it says that it is small
    assert unpacked(path) < 100_000
    (ledger,) = (tmp_path / "ledger").rglob("*.parquet")
    row = pq.ParquetFile(ledger).read().to_pylist()[0]
    row["files"][0]["bytes"] = path.stat().st_size
    pq.write_table(pa.Table.from_pylist([row], LEDGER_ROW).drop_columns(["sha256"]), ledger)
    commit(root, [refuse(root, f"drones-{number}", [b"x"]) for number in range(2, 8)])  # enough to be worth a merge
    assert compact(root, 64 << 20, LOCAL)
    assert len(lake(root).files(Dataset.DEAD_LETTERS)) == 3
    assert reconcile(root) == []
    assert lake(root).sql("SELECT sum(octet_length(payload))::INT AS n FROM dead_letters").to_pylist() == [
        {"n": 800_006}
    ]


COMPACTION = """
import resource, sys
import tests.pipelines.violations.test_limits as limits
from lake import merge, reader

merge.MAX_BYTES = int(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(piece,) = merge.bins(reader.lake(sys.argv[1]).entries(limits.Dataset.DEAD_LETTERS), 64 << 20)
merged = merge.merge(sys.argv[1], piece, "change-000001-aa-00001")
print(len(merged.files), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.embedded
def test_a_compaction_takes_memory_by_what_files_unpack_to(tmp_path: Path) -> None:
    for number in range(6):
        commit(str(tmp_path), [refuse(str(tmp_path), f"drones-{number}", [b"x" * 60_000] * 1_000)])
    assert sum(path.stat().st_size for path in (tmp_path / "dead_letters").rglob("*.parquet")) < 1 << 20
    bound = 64 << 20
    line = [sys.executable, "-c", COMPACTION, str(tmp_path), str(bound)]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    files, grown = map(int, done.stdout.split())
    assert files == 6
    assert grown << 10 < 4 * bound  # all at once it takes nine times as much
