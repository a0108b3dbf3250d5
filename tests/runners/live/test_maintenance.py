"""The lake of a live run is compacted again and again, and that stops with the run."""

from pathlib import Path

import pytest

from runners.live.maintenance import Maintenance
from runners.live.parts import compaction
from tests.support import wait_until

pytestmark = pytest.mark.embedded  # starts processes


def test_it_is_repeated_and_a_failure_is_shown_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "compaction.log"
    maintenance = Maintenance(["no-such-command"], log, seconds=0.01)
    maintenance.start()
    try:
        wait_until(lambda: log.exists() and log.read_text().count("no-such-command") >= 2)
        assert maintenance.failed
    finally:
        maintenance.stop()
    times = log.read_text().count("no-such-command")
    assert log.read_text().count("no-such-command") == times


def test_it_is_stopped_before_the_first_and_compacts_the_lake_of_the_run(tmp_path: Path) -> None:
    maintenance = Maintenance(compaction(str(tmp_path)), tmp_path / "compaction.log")
    maintenance.start()
    maintenance.stop()
    assert not maintenance.failed
    assert not (tmp_path / "compaction.log").exists()
    assert compaction("s3://prestacop/lake")[:3] == ["compact", "--lake", "s3://prestacop/lake"]
