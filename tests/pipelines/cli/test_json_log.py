"""The log of a run as JSON: each line is a record, and one that concerns a unit has it in fields of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lake import lake
from tests.support import make_messages


@pytest.mark.embedded
def test_each_line_of_a_runs_log_is_json_and_units_are_fields(tmp_path: Path) -> None:
    drones, root = make_messages(tmp_path / "m.jsonl", 2, 3), str(tmp_path / "lake")
    words = ["run", "--messages", f"file:{drones}", "--lake", root, "--log-level=info", "--log-format=json"]
    done = subprocess.run([sys.executable, "-m", "prestacop", *words], check=True, capture_output=True, text=True)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    about = [(record["source"], record["unit"], record["offset"]) for record in records if "unit" in record]
    units = lake(root).sql("SELECT source, unit, range_start FROM ledger").to_pylist()
    assert about == [tuple(unit.values()) for unit in units]
    assert about
