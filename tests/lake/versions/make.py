"""``python -m tests.lake.versions.make v2``: a small lake of the version at hand, to be kept beside the others.

To be run once, by the version of the code whose files it is to keep, when :mod:`schemas.lake` is about to change.
"""

import json
import os
import sys
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.history import COLUMNS_43

HERE = Path(__file__).parent
TICKETS = [("8000000001", "21", "0143A"), ("8000000002", "0", "1225"), ("8000000003", "46", "nonsense")]
MESSAGE = {
    "schema_version": 1, "message_id": "m1", "drone_id": "d1", "sequence": 1, "event_time": "2015-07-06T05:43:00Z",
    "latitude": 40.75, "longitude": -73.99, "altitude_m": 30.0, "battery_pct": 50.0, "kind": "violation",
    "violation_code": 14, "plate_id": "ABC1234", "status": "raw", "wind": {"speed": 7},
}  # fmt: skip


def make(folder: Path) -> None:
    """Write the lake: history, messages with a field that no version knows, one of each refused."""
    folder.mkdir()
    os.chdir(folder)  # the lake keeps the names as they were given
    history, messages = Path("h.csv"), Path("m.jsonl")
    rows = [",".join(COLUMNS_43)]
    for summons, code, time in TICKETS:
        values = {"Summons Number": summons, "Issue Date": "07/06/2015", "Violation Time": time, "Violation Code": code}
        rows.append(",".join(values.get(name, "") for name in COLUMNS_43))
    history.write_text("\n".join(rows) + "\n")
    position = {k: v for k, v in MESSAGE.items() if k not in ("violation_code", "plate_id")}
    position |= {"message_id": "m2", "kind": "position"}
    messages.write_text("".join(f"{line}\n" for line in (json.dumps(MESSAGE), json.dumps(position), "{")))
    run_graph(
        ReadOptions(str(history), str(messages)), Settings(str(Path("lake").absolute()), 3600), PipelineOptions([])
    )


if __name__ == "__main__":
    make(HERE / sys.argv[1])
