"""An input that is mostly refused is the wrong one: the run stops before it stands in the lake."""

import argparse
import logging
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake import lake
from lake.ledger import commit
from messaging.urls import PubSubUrl
from pipelines.maintenance.reconcile import reconcile
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions, _limit, follow, plan
from pipelines.violations.options import share
from pipelines.violations.run import main, run_graph
from schemas.dead_letter_share import DEFAULT_SHARE, percent
from schemas.errors import InputUnusable
from schemas.lake import Source
from sources.files.history import HistoryCsv
from sources.input import Split
from sources.loaded.input import LoadedFiles
from sources.loaded.topic import Loaded, remember
from sources.payloads import payload_batch
from sources.streams.pubsub import PubSubStream
from sources.units import Unit, UnitBatch
from tests.lakes import Said, write
from tests.support import LOCAL, content, make_history, make_messages
from transforms.messages.payload import Refusal
from transforms.messages.rows import dead_letters
from transforms.outputs import Parsed
from transforms.refusals import ANY_NUMBER, MaxDeadLetters, Parser

FILE = Unit(Source.DRONES, "m.jsonl", 0, 100, "drones-00000-" + 32 * "a")
CELL = Unit(Source.DRONES, "m.jsonl", 100, 200, "drones-00001-" + 32 * "b")
KAFKA = Unit(Source.DRONES, "kafka:t/0", 5, 9, f"drones-kafka-{32 * 'c'}-00000-{5:019d}")
PUBSUB = Unit(Source.IMAGES, "pubsub://p/s", 0, 9, f"images-pubsub-p-s-{7:020d}-{12 * 'd'}-9")


@pytest.mark.parametrize(
    ("unit", "rows", "refused", "stops"),
    [
        (FILE, 500_005, 500_005, True),
        (FILE, 10_000, 1_000, False),
        (FILE, 10_000, 1_001, True),
        (FILE, 500, 100, False),  # as many as of a thousand rows
        (FILE, 500, 101, True),
        (FILE, 3, 1, False),
        (FILE, 3, 2, False),
        (FILE, 3, 3, True),  # all of a file
        (FILE, 0, 0, False),
        (CELL, 1, 1, False),  # the torn end of a long file
        (CELL, 100, 100, False),
        (KAFKA, 3, 3, False),
        (PUBSUB, 100, 100, False),
        (KAFKA, 1_000, 101, True),
    ],
)
def test_a_unit_is_judged_by_its_own_rows(unit: Unit, rows: int, refused: int, stops: bool) -> None:
    assert MaxDeadLetters(DEFAULT_SHARE).is_exceeded(unit, rows, refused) is stops
    assert not ANY_NUMBER.is_exceeded(unit, rows, refused)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10%", (1, 10)), ("0.5%", (1, 200)), ("0%", (0, 1)), ("100%", (1, 1)), ("none", (1, 1)), ("33.3%", (333, 1000))],
)
def test_a_share_is_read(text: str, expected: tuple[int, int]) -> None:
    assert share(text) == Fraction(*expected)
    assert text in ("none", percent(share(text)))


@pytest.mark.parametrize(
    "text", ["", "10", "0.1", "-1%", "101%", "100.1%", "1e1%", "nan%", "10 %", "None", "1/2", "١٠%"]
)
def test_text_that_is_not_a_share_is_wrong_usage(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"write 10%, 0\.5%, or none"):
        share(text)


KINDS = ("messages", "images", "history")


def wrong_inputs(folder: Path, rows: int) -> dict[str, Path]:
    """Of each kind a file that it cannot be."""
    tickets = make_history(folder / "messages", rows, "--dirt", "0")
    lines = tickets.read_bytes().splitlines(keepends=True)
    # Of tickets one whose columns are those of another year's file.
    other_columns = b"a,Summons Number,Issue Date,Violation Time,Violation Code,b\n"
    (folder / "history").write_bytes(b"".join([other_columns, *lines[1:]]))
    shutil.copy(tickets, folder / "images")
    return {kind: folder / kind for kind in KINDS}


@pytest.mark.embedded
@pytest.mark.parametrize("rows", [5, 3_000])
def test_the_wrong_file_stops_the_run_and_writes_nothing(tmp_path: Path, rows: int) -> None:
    wrong, root = wrong_inputs(tmp_path, rows), tmp_path / "lake"
    for kind, path in wrong.items():
        expected = rf"{rows:,} of {rows:,} rows \(100.0%\) are refused, more than the 10% of --max-dead-letters: \w+ \("
        if kind != "history":
            expected = rf"{rows + 1:,} of {rows + 1:,} rows \(100.0%\)"  # its line of column names too
        given: dict[str, str] = {kind: str(path)}
        alone = ReadOptions(
            given.get("history"), given.get("messages"), given.get("images"), max_dead_letters=DEFAULT_SHARE
        )
        with pytest.raises((InputUnusable, RuntimeError), match=expected):
            run_graph(alone, Settings(str(root), 3600), LOCAL)
        assert [path for path in root.rglob("*") if path.is_file()] == []
    history, messages, images = (str(wrong[kind]) for kind in ("history", "messages", "images"))
    everything = ReadOptions(history, messages, images, max_dead_letters=Fraction(1))
    run_graph(everything, Settings(str(root), 3600), LOCAL)
    ledger = lake(str(root)).ledger
    found = dict(zip(ledger["source"].to_pylist(), ledger["dead_letters"].to_pylist(), strict=True))
    assert found == {"drones": rows + 1, "images": rows + 1, "history": rows}
    assert reconcile(str(root)) == []


@pytest.mark.embedded
def test_good_input_is_committed_once_after_a_run_that_stopped(tmp_path: Path) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 10, 200)
    make_history(tmp_path / "good.csv", 2_000, "--dirt", "0")
    (tmp_path / "torn.csv").write_bytes(
        b"".join(
            line if n % 5 else line[: len(line) // 2] + b"\n"
            for n, line in enumerate((tmp_path / "good.csv").read_bytes().splitlines(keepends=True), 4)
        )
    )
    both = ReadOptions(str(tmp_path / "*.csv"), str(messages), max_dead_letters=DEFAULT_SHARE)
    for root in ("lake", "other"):
        if root == "lake":
            with pytest.raises((InputUnusable, RuntimeError), match=r"400 of 2,000 rows \(20.0%\)"):
                run_graph(both, Settings(str(tmp_path / root), 3600), LOCAL)
            assert lake(str(tmp_path / root)).ledger.num_rows == 0
        run_graph(both._replace(max_dead_letters=Fraction(1, 5)), Settings(str(tmp_path / root), 3600), LOCAL)
        assert reconcile(str(tmp_path / root)) == []
    assert content(tmp_path / "lake") == content(tmp_path / "other")


@pytest.mark.embedded
def test_the_command_says_what_to_do_in_one_line_with_exit_code_3(tmp_path: Path) -> None:
    tickets, root = make_history(tmp_path / "tickets.csv", 20), tmp_path / "lake"
    line = [sys.executable, "-m", "prestacop", "run", "--quiet", "--lake", str(root)]
    line += ["--messages", f"file:{tickets}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: unit drones-00000-")
    for text in (str(tickets), "(100.0%)", "not_json (", "--history", "--max-dead-letters 100%"):
        assert text in done.stderr
    assert not root.exists()


@pytest.mark.parametrize("mode", [("--mode", "unbounded"), ("--every", "30s")])
def test_dead_letters_never_stop_an_unbounded_run(
    tmp_path: Path, mode: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--lake", str(tmp_path), *mode, "--messages", "kafka://127.0.0.1:1/t", "--max-dead-letters", "5%"])
    assert "--max-dead-letters is for runs that end" in capsys.readouterr().err
    history = make_history(tmp_path / "h.csv", 10)
    (reading,) = follow(ReadOptions(str(history), max_dead_letters=DEFAULT_SHARE), str(tmp_path), 10).values()
    assert reading.limit == MaxDeadLetters(DEFAULT_SHARE, stops=False)


@pytest.mark.parametrize("unit", [KAFKA, PUBSUB])
def test_a_topic_that_the_lake_knows_is_stopped_only_on_demand(tmp_path: Path, unit: Unit) -> None:
    root: Any = str(tmp_path)
    topic, splits = PubSubStream(PubSubUrl("p", "s"), unit.source), [Split(unit, 0)]
    options = ReadOptions(max_dead_letters=DEFAULT_SHARE)
    commit(
        root,
        [
            write(root, name, [Said("m")])
            for name in ("drones-00000", unit.name.replace("-kafka-", "-kafka-e").replace("-p-s", "-p-t"))
        ],
    )
    assert _limit(topic, splits, options, root).stops
    other = unit.name.replace(f"{5:019d}", f"{0:019d}").replace(f"{7:020d}", f"{1:020d}")
    commit(root, [write(root, other, [Said("m")])])
    assert not _limit(topic, splits, options, root).stops
    assert _limit(topic, splits, options._replace(stops_known_topics=True), root).stops


def test_a_topic_of_files_is_known_when_one_of_them_is_in_the_lake(tmp_path: Path) -> None:
    topic = LoadedFiles(PubSubStream(PubSubUrl("p", "s"), Source.HISTORY), HistoryCsv())
    options = ReadOptions(max_dead_letters=DEFAULT_SHARE)
    assert _limit(topic, [], options, str(tmp_path)).stops
    remember([Loaded(32 * "a", "f.csv", b"", 0, ())], str(tmp_path))
    assert not _limit(topic, [], options, str(tmp_path)).stops


def test_a_file_stops_the_run_in_a_lake_that_has_units(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 10)
    commit(str(tmp_path), [write(str(tmp_path), "drones-00000", [Said("m")])])
    (planned,) = plan(ReadOptions(str(history), max_dead_letters=DEFAULT_SHARE), str(tmp_path)).inputs
    assert planned.limit.stops


class Refusing(Parser):
    """Refuses all payloads that are b"x"."""

    def parse(self, batch: UnitBatch) -> Parsed:
        payloads = batch.rows["payload"].to_pylist()
        refused = [(n, Refusal("not_json", None)) for n, payload in enumerate(payloads) if payload == b"x"]
        kept = batch.rows.slice(len(refused))
        return Parsed(kept, dead_letters(batch.unit, batch.rows, refused))


def payloads(payload: bytes, n: int) -> pa.RecordBatch:
    """So many times a payload."""
    return payload_batch([payload] * n, range(n), range(n))


def test_a_unit_in_parts_is_judged_before_its_first_part_is_written() -> None:
    step = Refusing(MaxDeadLetters(DEFAULT_SHARE))
    step.start_bundle()
    list(step.process(UnitBatch(KAFKA, payloads(b"x", 2_000), last=False, part=0)))
    with pytest.raises(InputUnusable, match=r"2,000 of 2,000 rows \(100.0%\)"):
        next(iter(step.process(UnitBatch(KAFKA, payloads(b"ok", 2_000), last=True, part=1))))


def test_the_batches_of_a_unit_are_judged_together_and_units_apart() -> None:
    step = Refusing(MaxDeadLetters(DEFAULT_SHARE))
    step.start_bundle()
    list(step.process(UnitBatch(KAFKA, payloads(b"x", 500), last=False)))
    list(step.process(UnitBatch(PUBSUB, payloads(b"ok", 9_000), last=False)))
    list(step.process(UnitBatch(KAFKA, payloads(b"ok", 5_000), last=True)))
    list(step.process(UnitBatch(PUBSUB, payloads(b"x", 1_000), last=True)))
    step.finish_bundle()


def test_where_nothing_is_stopped_a_flood_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    step = Refusing(MaxDeadLetters(DEFAULT_SHARE, stops=False))
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            step.start_bundle()
            assert len(list(step.process(UnitBatch(KAFKA, payloads(b"x", 2_000), last=True)))) == 2
            step.finish_bundle()
    (record,) = caplog.records
    assert "2,000 of 2,000 rows (100.0%)" in record.getMessage()
