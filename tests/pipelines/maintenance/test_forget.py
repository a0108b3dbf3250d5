"""Forget: a plate is in no byte of the lake any more, everything else is as it was, and nothing comes back."""

import base64
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyarrow.fs import FileSelector

from apps.simulator.fleet.images import jpeg
from lake import lake, tombstones
from lake.files import in_ledger, write_unit
from lake.large_payloads import store_large_payloads
from lake.ledger import commit
from lake.publication import publish
from lake.storage import LocalStorage, storage
from lake.tombstones import normalized
from lake.vacuum import vacuum
from pipelines.maintenance import forget
from pipelines.maintenance.compact import compact
from pipelines.maintenance.flags import forget as parser
from pipelines.maintenance.forget import command
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.undo_unit import put_back, undo
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.errors import InputChanged, InputUnusable
from schemas.history import COLUMNS_43
from schemas.lake import Dataset, Source
from sources.payloads import payload_batch
from sources.streams.segments import segment_of
from sources.units import Unit
from tests.lakes import compacted, power_fails_at
from tests.support import LOCAL
from transforms.images import object_path
from transforms.messages.decode import decode_payloads
from transforms.qualify import split
from transforms.stats import WindowCounter

pytestmark = pytest.mark.embedded

PLATE_ID, OTHER = "ZQ7XW42", "ABC1234"
PICTURE, OTHERS_PICTURE = jpeg("the car"), jpeg("another car")
DATASETS = ("positions", "qualified", "unqualified", "dead_letters", "images")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look at the tombstones each time, so nobody waits for them."""
    monkeypatch.setattr(tombstones, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(forget, "FRESH_SECONDS", 0.0)


def ticket(number: int, plate: str, **fields: str) -> str:
    values = {
        "Summons Number": str(1_000_000_000 + number), "Plate ID": plate, "Registration State": "NY",
        "Issue Date": "01/15/2015", "Violation Time": "0915A", "Violation Code": "21", "Violation County": "K",
    } | fields  # fmt: skip
    return ",".join(values.get(name, "") for name in COLUMNS_43)


def tickets(path: Path, first: int, *plates: str, more: Sequence[str] = ()) -> Path:
    """A file of tickets."""
    rows = [ticket(first + n, plate) for n, plate in enumerate(plates)]
    path.write_text("\n".join([",".join(COLUMNS_43), *rows, *more, ""]))
    return path


def message(name: str, **fields: object) -> bytes:
    """A violation, or what the fields make of it."""
    usual = {
        "schema_version": 1, "message_id": name, "drone_id": "d1", "sequence": 1, "latitude": 40.7, "longitude": -74.0,
        "event_time": "2026-01-15T12:00:00.000000Z", "altitude_m": 50, "battery_pct": 90, "kind": "violation",
        "status": "raw", "violation_code": 21,
    }  # fmt: skip
    return json.dumps({name: value for name, value in (usual | fields).items() if value is not None}).encode()


def position(name: str, **fields: object) -> bytes:
    return message(name, kind="position", violation_code=None, **fields)


def picture(image_id: str, data: bytes, day: str = "2026-01-15") -> bytes:
    encoded = base64.b64encode(data).decode()
    fields = {"schema_version": 1, "image_id": image_id, "event_time": f"{day}T12:00:00Z", "data": encoded}
    return json.dumps(fields).encode()


class Inputs:
    """What a lake is filled with, in two runs: the plate is in all places where it can be."""

    def __init__(self, folder: Path) -> None:
        refused = ticket(90, PLATE_ID, **{"Violation Time": "x"})
        self.history = tickets(folder / "a.csv", 0, PLATE_ID, OTHER, "zq7-xw42", OTHER, more=[refused])
        self.messages = folder / "a.jsonl"
        self.messages.write_bytes(
            b"\n".join([
                message("m1", plate_id=PLATE_ID, image_id="i1"), message("m2", plate_id=OTHER, image_id="i2"),
                message("m3", plate_id=PLATE_ID, violation_code=0), message("m4", plate_id=OTHER, violation_code=0),
                position("m5"), position("m6", plate_id=PLATE_ID), position("m7", note=f"follows {PLATE_ID}"),
                b'{"broken": "%s"' % PLATE_ID.encode(), b'{"broken": "%s"' % OTHER.encode(),
                b"x" * (1 << 20) + b" " + PLATE_ID.encode(), b"x" * (1 << 20) + b" " + OTHER.encode(), b"",
            ])
        )  # fmt: skip
        self.images = folder / "images.jsonl"
        self.images.write_bytes(b"\n".join([picture("i1", PICTURE), picture("i2", OTHERS_PICTURE), b""]))

    def fill(self, root: str) -> None:
        """A table of merged files with older versions, and a tail."""
        publishing = Settings(root, 3600, publish_every=10)
        run_graph(ReadOptions(str(self.history), str(self.messages), str(self.images)), publishing, LOCAL)
        run_graph(self.more("b"), publishing, LOCAL)
        compact(root, 1 << 20, LOCAL)
        run_graph(self.more("c"), Settings(root, 3600), LOCAL)

    def more(self, name: str) -> ReadOptions:
        """Some other tickets and messages."""
        history = tickets(self.history.with_name(f"{name}.csv"), 100 * ord(name), OTHER, PLATE_ID)
        messages = self.messages.with_name(f"{name}.jsonl")
        messages.write_bytes(b"\n".join([message(name, plate_id=PLATE_ID), message(f"{name}2", plate_id=OTHER), b""]))
        return ReadOptions(str(history), str(messages))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake and its inputs, made once."""
    folder = tmp_path_factory.mktemp("filled")
    Inputs(folder).fill(str(folder / "lake"))
    return folder


@pytest.fixture
def inputs(tmp_path: Path, filled: Path) -> Inputs:
    """A lake's inputs."""
    return Inputs(tmp_path)


@pytest.fixture
def root(tmp_path: Path, filled: Path) -> str:
    """A lake with all of them."""
    shutil.copytree(filled / "lake", tmp_path / "lake")
    return str(tmp_path / "lake")


def contents(root: str) -> Iterator[tuple[str, str]]:
    """Every file of a lake, its bytes, and decoded where it is Parquet, in capitals, without signs."""
    for path in sorted(Path(root).rglob("*")):
        if path.is_file():
            texts = [str(path), path.read_bytes().decode("latin-1")]
            if path.suffix == ".parquet":
                texts.append(repr(pq.ParquetFile(path).read().to_pylist()))
            yield str(path.relative_to(root)), normalized(" ".join(texts))


def with_text(root: str, text: str) -> list[str]:
    """The files that have a text in any of their bytes."""
    return [path for path, found in contents(root) if normalized(text) in found]


def counts(root: str) -> dict[str, int]:
    """The rows of each dataset, as readers see them."""
    each = ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in DATASETS)
    found: dict[str, int] = lake(root).sql(f"SELECT {each}").to_pylist()[0]
    return found


def by_delta(root: str) -> dict[str, int]:
    """The same, as a Delta reader sees them that knows nothing of the lake."""
    return {name: DeltaTable(f"{root}/{name}").to_pyarrow_dataset().count_rows() for name in DATASETS}


def run(root: str, *flags: str) -> int:
    arguments = parser().parse_args(["--lake", root, "--quiet", *flags])
    return command(arguments, pytest.fail)


BEFORE = {"positions": 3, "qualified": 14, "unqualified": 2, "dead_letters": 5, "images": 2}
AFTER = {"positions": 1, "qualified": 7, "unqualified": 1, "dead_letters": 2, "images": 1}


def is_erased(root: str) -> None:
    """Nothing of the plate is left, and all of the rest."""
    assert with_text(root, PLATE_ID) == []
    assert not (Path(root) / object_path(PICTURE)).exists()
    assert (Path(root) / object_path(OTHERS_PICTURE)).exists()
    assert counts(root) == AFTER
    assert reconcile(root) == []


def test_the_plate_is_in_no_byte_and_everything_else_is_as_it_was(
    root: str, inputs: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(with_text(root, PLATE_ID)) > 9
    assert counts(root) == BEFORE
    others = len([path for path in with_text(root, OTHER) if path.startswith("payloads")])
    assert run(root, "--plate", "zq7 xw42", "--reason", "request 17") == 0
    is_erased(root)
    assert by_delta(root) == AFTER
    assert len([path for path in with_text(root, OTHER) if path.startswith("payloads")]) == others == 1
    said = capsys.readouterr().out
    assert "7 qualified" in said
    assert "not reached: topics" in said
    assert run(root, "--list") == 0
    listed = capsys.readouterr().out
    assert "request 17" in listed
    assert PLATE_ID not in said + listed
    assert {move["into"] for moves in lake(root).changes["moves"].to_pylist() for move in moves} == {"erased"}
    assert compact(root, 1 << 20, LOCAL) is None or reconcile(root) == []
    vacuum(root, timedelta(0), deep=True)
    is_erased(root)


def test_nothing_comes_back_whatever_is_read_again(root: str, inputs: Inputs, tmp_path: Path) -> None:
    run(root, "--plate", PLATE_ID)
    for name in ("history", "messages", "images"):  # other bytes, so other units
        path = getattr(inputs, name)
        lines = path.read_bytes().splitlines()
        headers = 1 if name == "history" else 0
        copy = tmp_path / f"again-{path.name}"
        copy.write_bytes(b"\n".join([*lines[:headers], *reversed(lines[headers:]), b""]))
        setattr(inputs, name, copy)
    run_graph(ReadOptions(str(inputs.history), str(inputs.messages), str(inputs.images)), Settings(root, 3600), LOCAL)
    assert with_text(root, PLATE_ID) == []
    assert not (Path(root) / object_path(PICTURE)).exists()
    again = counts(root)
    assert again == AFTER | {"qualified": 9, "dead_letters": 4}  # tickets and dead letters of files have no copies
    assert reconcile(root) == []
    dropped = [move for moves in lake(root).tail["moves"].to_pylist() for move in moves or ()]
    assert sum(move["rows"] for move in dropped) == 3 + 6 + 1
    compact(root, 1 << 20, LOCAL)
    assert with_text(root, PLATE_ID) == []
    assert reconcile(root) == []


def test_later_events_of_the_plate_are_kept(root: str, tmp_path: Path) -> None:
    run(root, "--plate", PLATE_ID)
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    new = tmp_path / "later.jsonl"
    new.write_bytes(message("late", plate_id=PLATE_ID, event_time=later) + b"\n")
    run_graph(ReadOptions(None, str(new)), Settings(root, 3600), LOCAL)
    assert counts(root) == AFTER | {"qualified": AFTER["qualified"] + 1}
    assert reconcile(root) == []


def add(root: str, name: str, *payloads: bytes) -> dict[str, Any]:
    """A unit of messages by a worker that knows no tombstones; gives its row of the ledger, which is not there yet."""
    n = len(payloads)
    parsed = decode_payloads(
        Unit(Source.DRONES, "fleet.jsonl", 0, n, name), payload_batch(payloads, range(n), range(n))
    )
    counter = WindowCounter(3600)
    counter.add(parsed.rows)
    letters = store_large_payloads(root, parsed.dead_letters)
    parts = {**split(parsed.rows), Dataset.STATS: counter.counts(name), Dataset.DEAD_LETTERS: letters}
    files = [file for dataset, part in parts.items() for file in write_unit(root, dataset, Source.DRONES, name, [part])]
    counts = {str(dataset): parts[dataset].num_rows if dataset in parts else 0 for dataset in Dataset}
    counts |= {"duplicates": 0, "counted": parsed.rows.num_rows, "rows_in": n}
    place = {"unit": name, "source": "drones", "path": "fleet.jsonl", "range_start": 0, "range_end": n}
    return {**place, **{what: counts[what] for what in counts if what != "stats"}, **in_ledger(files)}


def small(root: str) -> str:
    """A lake of three units, two of them merged, without a runner."""
    for n in range(3):
        broken = b'{"plate": "%s"' % PLATE_ID.encode(), b"x" * (1 << 20) + PLATE_ID.encode().center(9)
        mine = message(f"{n}a", plate_id=PLATE_ID), message(f"{n}b", plate_id=OTHER), position(f"{n}c")
        commit(root, [add(root, f"drones-{n:05d}", *mine, *broken)])
        if n == 1:
            compacted(root)
    return root


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of :func:`small`, made once."""
    return Path(small(str(tmp_path_factory.mktemp("small") / "lake")))


@pytest.fixture
def little(small_lake: Path, tmp_path: Path) -> str:
    """The lake of :func:`small`."""
    return str(shutil.copytree(small_lake, tmp_path / "little"))


LEFT = {"positions": 3, "qualified": 3, "unqualified": 0, "dead_letters": 0, "images": 0}


def test_stopped_at_any_write_the_same_command_goes_on(little: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for stop_at in range(1, 40):
        with monkeypatch.context() as patch:
            power_fails_at(patch, little, stop_at)
            try:
                run(little, "--plate", PLATE_ID)
            except OSError as error:
                assert "the power fails" in str(error)  # noqa: PT017
            else:
                break
    assert stop_at > 8
    assert with_text(little, PLATE_ID) == []
    assert counts(little) == by_delta(little) == LEFT
    assert reconcile(little) == []


def test_stopped_before_files_are_deleted_the_same_command_deletes_them(
    little: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "delete", lambda self, path: (_ for _ in ()).throw(OSError("the power fails")))
        patch.setattr(LocalStorage, "probe", lambda self: None)
        with pytest.raises(OSError, match="the power fails"):
            run(little, "--plate", PLATE_ID)
    assert with_text(little, PLATE_ID)
    run(little, "--plate", PLATE_ID)
    assert with_text(little, PLATE_ID) == []
    assert reconcile(little) == []


def test_a_unit_of_a_worker_that_did_not_know_is_erased_when_it_is_published(little: str) -> None:
    late = add(little, "drones-00009", message("9a", plate_id=PLATE_ID), message("9b", plate_id=OTHER))
    with pytest.raises(InputChanged, match="1 files of units that are not committed"):
        run(little, "--plate", PLATE_ID)
    commit(little, [late])
    assert reconcile(little) == []
    publish(little)
    assert with_text(little, PLATE_ID) == []
    assert counts(little) == by_delta(little) == LEFT | {"qualified": 4}
    assert reconcile(little) == []
    assert run(little, "--plate", PLATE_ID) == 0


def test_what_a_killed_run_left_is_deleted_after_the_run_was_repeated(little: str) -> None:
    add(little, "drones-00009", message("9a", plate_id=PLATE_ID))
    with pytest.raises(InputChanged):
        run(little, "--plate", PLATE_ID)
    row = add(little, "drones-00009", message("9a", plate_id=OTHER))  # the file of the same name, as it is now
    assert with_text(little, PLATE_ID) == []
    commit(little, [row])
    assert run(little, "--plate", PLATE_ID) == 0
    assert reconcile(little) == []


def test_a_segment_that_waits_is_named_and_kept(little: str) -> None:
    name = "drones-pubsub-p.s-00000000000000000001-0123456789ab-1.arrow"
    path = Path(little) / "spool" / "drones-pubsub-p.s" / name
    path.parent.mkdir(parents=True)
    rows = payload_batch([message("s", plate_id=PLATE_ID)], range(1), range(1))
    path.write_bytes(segment_of(rows, name))
    with pytest.raises(InputChanged, match=name):
        run(little, "--plate", PLATE_ID)
    assert path.exists()


def test_beside_compactions_and_another_erasure(little: str) -> None:
    faults: list[BaseException] = []

    def doing(what: Callable[[], object]) -> None:
        try:
            what()
        except BaseException as error:  # noqa: BLE001  # shown below
            faults.append(error)

    work = [lambda: run(little, "--plate", PLATE_ID), lambda: compacted(little), lambda: run(little, "--plate", OTHER)]
    threads = [threading.Thread(target=doing, args=(of,)) for of in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [fault for fault in faults if not isinstance(fault, AssertionError)] == []  # a compaction that lost
    run(little, "--plate", PLATE_ID)
    run(little, "--plate", OTHER)
    assert with_text(little, PLATE_ID) == with_text(little, OTHER) == []
    assert counts(little) == LEFT | {"qualified": 0}
    assert reconcile(little) == []


def test_an_undone_unit_is_not_put_back_with_the_plate(little: str) -> None:
    assert undo(little, ["drones-00000"], "undo")
    run(little, "--plate", PLATE_ID)
    assert with_text(little, PLATE_ID) == []
    with pytest.raises(InputUnusable, match="a vacuum removed"):
        put_back(little, ["drones-00000"], "back")
    assert counts(little) == {name: n * 2 // 3 for name, n in LEFT.items()}
    assert reconcile(little) == []


def test_a_unit_that_lost_rows_is_undone_and_put_back_without_them(little: str) -> None:
    run(little, "--plate", PLATE_ID)
    assert undo(little, ["drones-00001"], "undo")
    assert reconcile(little) == []
    assert put_back(little, ["drones-00001"], "back")
    assert counts(little) == LEFT
    assert reconcile(little) == []


def test_positions_and_pictures_before_a_day_are_erased(
    root: str, inputs: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, "--before", "2026-01-15", "--dry-run") == 0
    assert "would erase no rows" in capsys.readouterr().out
    assert run(root, "--before", "2026-01-16") == 0
    assert counts(root) == BEFORE | {"positions": 0, "images": 0}
    assert not (Path(root) / object_path(PICTURE)).exists()
    assert reconcile(root) == []
    copy = inputs.images.with_name("copy.jsonl")
    copy.write_bytes(b"\n".join([*reversed(inputs.images.read_bytes().splitlines()), picture("i3", b"", "2026-02-01")]))
    run_graph(ReadOptions(None, None, str(copy)), Settings(root, 3600), LOCAL)
    assert not (Path(root) / object_path(PICTURE)).exists()
    assert counts(root)["images"] == 0
    assert reconcile(root) == []


def test_a_dry_run_counts_and_changes_nothing(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}
    assert run(root, "--plate", PLATE_ID, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "would erase 3 dead letters, 1 images, 2 positions, 7 qualified, 1 unqualified; nothing was changed" in said
    assert {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()} == before


def test_the_reason_must_not_have_the_plate(little: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="the ledger would keep it"):
        run(little, "--plate", PLATE_ID, "--reason", f"asked by the owner of {PLATE_ID.lower()}")


def test_on_s3(s3: str) -> None:
    small(lake_at := f"{s3}/some/lake")
    assert run(lake_at, "--plate", PLATE_ID) == 0
    store = storage(lake_at)
    for info in store.filesystem.get_file_info(FileSelector(store.base, recursive=True)):
        if info.is_file:
            data = store.read(info.path.removeprefix(f"{store.base}/"))
            table = repr(pq.read_table(BytesIO(data)).to_pylist()) if info.path.endswith(".parquet") else ""
            assert PLATE_ID not in normalized(data.decode("latin-1") + table), info.path
    assert counts(lake_at) == LEFT
    assert reconcile(lake_at) == []
