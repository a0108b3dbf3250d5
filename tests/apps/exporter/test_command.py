"""The command: it serves its pages, ends by Ctrl-C, and says in one line what is wrong."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from apps.exporter.flags import parser
from lake.ledger import commit
from runners.services import free_port
from tests.lakes import Said, write
from tests.support import wait_until


@pytest.mark.embedded
def test_it_serves_the_page_until_ctrl_c_and_imports_no_beam(tmp_path: Path) -> None:
    root, port = str(tmp_path), free_port()
    commit(root, [write(root, "drones-00000-" + 32 * "a", [Said("1")])])
    code = "import sys, prestacop.main as m; sys.modules['apache_beam'] = None; m.run()"
    command = [sys.executable, "-c", code, "exporter", "--lake", root, "--port", str(port), "--every", "1s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        assert f"{url}/metrics" in line

        def rows() -> bool:
            with urllib.request.urlopen(f"{url}/metrics", timeout=60) as page:
                return 'prestacop_read_rows_total{source="drones"} 1.0' in page.read().decode()

        wait_until(rows)
        with urllib.request.urlopen(f"{url}/healthz", timeout=60) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=300)
    assert process.returncode == 130
    assert error == "\nstopped. Run it again.\n"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--messages", "pubsub://prestacop/drones"], "num_undelivered_messages"),
        (["--messages", "file:fleet.jsonl"], "is not a Kafka topic"),
        (["--every", "0s"], "write 1s or more"),
        (["--kafka-group", "prestacop"], "--kafka-group needs --messages"),
    ],
)
def test_wrong_usage_says_what_to_write(flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parser().parse_args(["--lake", "x", *flags])
    assert left.value.code == 2
    assert problem in capsys.readouterr().err
