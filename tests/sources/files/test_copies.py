"""A recording that is given twice is counted once, by live statistics too."""

import gzip
import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.errors import InputUnusable
from schemas.lake import Source
from sources.files import grid as cells
from sources.files.copies import once
from sources.files.read import plan
from sources.files.recordings import RecordedMessages
from tests.support import content, make_messages

FORM = RecordedMessages(Source.DRONES)
OPTIONS = PipelineOptions([], direct_running_mode="multi_threading", direct_num_workers=1)


def counted(folder: Path, messages: str) -> tuple[Counter[tuple[object, ...]], object]:
    """What the live statistics of a recording come to, and the lake."""
    folder.mkdir()
    live = folder / "panes.jsonl"
    run_graph(ReadOptions(messages=messages), Settings(str(folder / "lake"), 3600, live=str(live)), OPTIONS)
    sums: Counter[tuple[object, ...]] = Counter()
    for line in live.read_text().splitlines():
        pane = json.loads(line)
        if pane.get("dataset") and "areas" not in pane:
            sums[pane["window_start"], pane["dataset"], pane["violation_code"]] += pane["n"]
    found = content(folder / "lake")
    del found["ledger"]
    return sums, found


@pytest.mark.embedded
def test_live_statistics_deduplicate_a_recording_under_several_names(tmp_path: Path) -> None:
    given = tmp_path / "in"
    given.mkdir()
    fleet = make_messages(tmp_path / "fleet.jsonl", 5, 30)
    shutil.copy(fleet, given / "a.jsonl")
    alone = counted(tmp_path / "alone", str(given / "*.jsonl"))
    assert sum(alone[0].values()) > 100
    (given / "b.jsonl").hardlink_to(given / "a.jsonl")
    (given / "c.jsonl").symlink_to("a.jsonl")
    (given / "sub").mkdir()
    shutil.copy(fleet, given / "sub/d.jsonl")
    with gzip.open(given / "e.jsonl", "wb") as packed:
        half = fleet.read_bytes()[:1000]
        packed.write(half)
    with gzip.open(given / "e.jsonl", "ab") as packed:
        packed.write(fleet.read_bytes()[1000:])
    assert counted(tmp_path / "many", f"{given}/**/*.jsonl") == alone


def test_files_with_equal_beginnings_are_deduplicated_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cells, "CELL_BYTES", 1 << 17)
    lines = b"".join(b'{"a":%07d}\n' % n for n in range(20_000))
    (tmp_path / "a").write_bytes(lines)
    (tmp_path / "b").write_bytes(lines + b"x\n")
    (tmp_path / "c").write_bytes(lines[1:])
    (tmp_path / "d").write_bytes(lines)
    (tmp_path / "e").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        kept = once(plan(f"{tmp_path}/?", FORM), FORM)
    assert [(Path(cell.path).name, cell.number) for cell in kept] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 2), ("c", 0), ("c", 1), ("c", 2),
    ]  # fmt: skip
    assert len(caplog.messages) == 5
    assert f"{tmp_path}/d: bytes 131072 to 262144 are in {tmp_path}/a too and are read once" in caplog.messages
    (tmp_path / "g").write_bytes(gzip.compress(lines)[:-9])
    with pytest.raises(InputUnusable, match=r"/g: the gzip file is damaged"):
        once(plan(f"{tmp_path}/[ag]", FORM), FORM)
