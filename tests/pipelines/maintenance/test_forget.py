"""Forget: a plate is in no byte of the lake any more, everything else is as it was, and nothing comes back."""

import base64
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from apps.simulator.fleet.images import jpeg
from lake import lake, tombstones
from lake.tombstones import normalized
from lake.vacuum import vacuum
from pipelines.maintenance import forget
from pipelines.maintenance.compact import compact
from pipelines.maintenance.flags import forget as parser
from pipelines.maintenance.forget import command
from pipelines.maintenance.reconcile import reconcile
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.history import COLUMNS_43
from tests.support import LOCAL
from transforms.images import object_path

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
    rows = Counter(move["into"] for moves in lake(root).changes["moves"].to_pylist() for move in moves)
    assert rows["erased"]
    assert compact(root, 1 << 20, LOCAL) is None or reconcile(root) == []
    vacuum(root, timedelta(0), deep=True)
    is_erased(root)


def test_nothing_comes_back_whatever_is_read_again(root: str, inputs: Inputs, tmp_path: Path) -> None:
    run(root, "--plate", PLATE_ID)
    for name in ("history", "messages", "images"):  # other bytes, so other units
        path = getattr(inputs, name)
        head, _, rows = path.read_bytes().partition(b"\n")
        copy = tmp_path / f"again-{path.name}"
        copy.write_bytes(b"\n".join([head, *reversed(rows.splitlines()), b""]))
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
