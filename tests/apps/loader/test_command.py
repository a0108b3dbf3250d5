"""The command: what each thing that can go wrong is called, and that the same command goes on behind it."""

import gzip
import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from urllib3 import HTTPResponse

from apps.loader import load as loading
from apps.loader import to_file
from apps.loader.command import main
from apps.loader.pieces import Place
from apps.loader.to_file import ToFile
from schemas.errors import InputChanged
from tests.apps.loader.loads import HEADER, ROWS, Collected, Interrupted, command, to
from tests.support import make_history

AS_NOBODY = """
import os, sys
from apps.loader import command as loader, to_file
loader.main(["--status", "--journal", "nowhere"]), b"x".decode("utf-8-sig")  # which imports the rest
os.setegid(65534), os.seteuid(65534)
sys.exit(loader.main(sys.argv[1:]))
"""
"""Whoever that is need not be able to read the program's files."""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return make_history(tmp_path / "tickets.csv", 2_000)


def flags(tmp_path: Path) -> list[str]:
    return ["--to", f"file:{tmp_path}/out", "--journal", f"{tmp_path}/journals"]


@pytest.mark.embedded
@pytest.mark.parametrize("target", ["to_file", "to_kafka", "to_s3", "to_pubsub"])
def test_nothing_heavy_is_imported(target: str) -> None:
    code = f"import sys, apps.loader.command, apps.loader.{target}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"apache_beam", "pyarrow", "numpy", "pandas"} & set(done.stdout.split())


@pytest.mark.embedded
def test_a_file_is_copied_unchanged_and_exactly_once(tmp_path: Path, history: Path) -> None:
    done = command(history, *flags(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    (arrived,) = (tmp_path / "out").iterdir()
    assert arrived.read_bytes() == history.read_bytes()
    assert f"--history '{arrived}'" in done.stdout
    assert "already" in command(history, *flags(tmp_path)).stdout
    arrived.unlink()
    assert command(history, *flags(tmp_path), "--restart").returncode == 0
    assert arrived.read_bytes() == history.read_bytes()


def test_a_file_arrives_in_a_bucket_part_by_part(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.loader.to_s3.PART_BYTES", 5 << 20)
    history = make_history(tmp_path / "tickets.csv", 50_000)
    assert main([str(history), "--to", f"{s3}/in", "--journal", f"{tmp_path}/j", "--quiet"]) == 0
    (found,) = boto3.client("s3").list_objects_v2(Bucket="lake")["Contents"]
    assert found["Key"].startswith("in/tickets-")
    assert found["ETag"].endswith('-3"')
    assert boto3.client("s3").get_object(Bucket="lake", Key=found["Key"])["Body"].read() == history.read_bytes()


def test_an_interrupted_upload_resumes_with_the_parts_that_exist(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.loader.to_s3 import ToS3  # noqa: PLC0415

    monkeypatch.setattr("apps.loader.to_s3.PART_BYTES", 5 << 20)
    history = make_history(tmp_path / "tickets.csv", 50_000)
    sent: list[int] = []
    send = ToS3.send

    def stopped(target: ToS3, chunk: bytes, upto: Place) -> None:
        sent.append(upto.offset)
        send(target, chunk, upto)
        if len(sent) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ToS3, "send", stopped)
    line = [str(history), "--to", f"{s3}/in", "--journal", f"{tmp_path}/j", "--quiet"]
    assert main(line) == 130
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="lake")
    assert main(line) == 0
    assert sent == [5 << 20, 10 << 20, history.stat().st_size]
    (found,) = boto3.client("s3").list_objects_v2(Bucket="lake")["Contents"]
    assert boto3.client("s3").get_object(Bucket="lake", Key=found["Key"])["Body"].read() == history.read_bytes()


TOO_SLOW = b"<Error><Code>RequestTimeout</Code><Message>Your socket connection was idle</Message></Error>"


def test_a_part_whose_upload_timed_out_is_retried(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is 400, as if the request were wrong."""
    naps: list[float] = []
    monkeypatch.setattr("messaging.retry.time.sleep", naps.append)
    answers = [AWSResponse("", 400, HTTPHeaders(), HTTPResponse(BytesIO(TOO_SLOW), preload_content=False))]
    made = boto3.client

    def slow(*arguments: Any, **more: Any) -> Any:
        client = made(*arguments, **more)
        client.meta.events.register("before-send.s3.UploadPart", lambda **_: answers.pop() if answers else None)
        return client

    monkeypatch.setattr("apps.loader.to_s3.boto3.client", slow)
    history = make_history(tmp_path / "tickets.csv", 1_000)
    assert main([str(history), "--to", f"{s3}/in", "--journal", f"{tmp_path}/j", "--quiet"]) == 0
    (found,) = made("s3").list_objects_v2(Bucket="lake")["Contents"]
    assert found["Size"] == history.stat().st_size
    assert (answers, len(naps)) == ([], 1)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"a,b\n1,2\n", "no history of tickets"),
        (b"\x1f\x8b\x08rubbish", "gzip"),
    ],
)
def test_a_file_that_is_not_a_ticket_file_ends_with_3_and_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "wrong.csv").write_bytes(content)
    done = command(tmp_path / "wrong.csv", *flags(tmp_path))
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "wrong.csv" in done.stderr
    assert expected in done.stderr


@pytest.mark.embedded
@pytest.mark.parametrize("name", [b"t\xff.csv", b"t\x1b[31m.csv", b"t\n.csv"])
def test_a_name_that_is_not_printable_text_ends_with_3(tmp_path: Path, name: bytes) -> None:
    source = tmp_path / os.fsdecode(name)
    source.write_bytes(HEADER + ROWS)
    done = command(source, *flags(tmp_path))
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.isprintable()
    assert "rename the file" in line
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "FILE... --to URL"),
        (["x.csv"], "FILE... --to URL"),
        (["x.csv", "--to", "ftp://x"], "kafka://HOST:PORT/TOPIC"),
        (["x.csv", "--to", "kafka://x"], "kafka://HOST:PORT"),
        (["x.csv", "--to", "file:out", "--batch-rows", "0"], "not a whole number"),
        (["x.csv", "--to", "file:out", "--max-rate", "fast"], "not a rate"),
        (["x.csv", "--to", "file:out", "--patience", "1"], "not a duration"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], expected: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr


@pytest.mark.embedded
def test_a_target_that_is_not_a_directory_ends_with_2(tmp_path: Path, history: Path) -> None:
    for flags_of in (["--to", f"file:{history}"], ["--to", f"file:{tmp_path}/out", "--journal", str(history)]):
        done = command(history, "--journal", tmp_path / "j", *flags_of)
        assert done.returncode == 2
        assert f"{history} is not a directory" in done.stderr


@pytest.mark.embedded
def test_a_service_that_does_not_answer_ends_with_4(tmp_path: Path, history: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    nowhere = keys | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "PUBSUB_EMULATOR_HOST": "127.0.0.1:9"}
    for url in ("kafka://127.0.0.1:9/tickets", "s3://bucket/x", "pubsub://project/tickets"):
        done = command(history, "--to", url, "--journal", tmp_path / "j", "--patience", "1s", env=nowhere)
        assert (url, done.returncode) == (url, 4)
        assert "Check the network" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.embedded
def test_a_full_disk_ends_with_5_and_the_same_command_resumes(tmp_path: Path, history: Path) -> None:
    small = tmp_path / "out"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        for journals in (tmp_path / "journals", small / "journals"):  # the second has no room for its journal either
            line = (history, "--to", f"file:{small}/{journals.parent.name}", "--journal", journals)
            subprocess.run(["mount", "-o", "remount,size=200k", str(small)], check=True)
            done = command(*line)
            assert done.returncode == 5
            assert "no space left" in done.stderr
            subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
            assert command(*line).returncode == 0
            (arrived,) = (small / journals.parent.name).glob("*.csv")
            assert arrived.read_bytes() == history.read_bytes()
            arrived.unlink()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_file_that_changes_while_it_is_loaded_ends_with_6_and_restart_loads_the_new_one(
    tmp_path: Path, history: Path
) -> None:
    def touched(data: bytes) -> None:
        history.write_bytes(data)

    topic: list[bytes] = []

    class Changing(Collected):
        def send(self, chunk: bytes, upto: Place) -> None:
            super().send(chunk, upto)
            if len(topic) == 3:
                touched(history.read_bytes() + b"x\n")

    with pytest.raises(InputChanged, match="during the load"):
        to(Changing(topic, rows=100), tmp_path / "j", history)
    assert all(b'"size": null' in message for message in topic)  # its end was not sent: nobody takes it for a file
    with pytest.raises(InputChanged, match="--restart"):
        to(Collected(topic), tmp_path / "j", history)


@pytest.mark.embedded
def test_the_command_ends_with_6_where_the_file_was_changed_between_two_runs(tmp_path: Path, history: Path) -> None:
    with stopped_half_way(history, tmp_path):
        pass
    history.write_bytes(history.read_bytes() + b"x\n")
    done = command(history, *flags(tmp_path))
    assert done.returncode == 6
    assert command(history, *flags(tmp_path), "--restart").returncode == 0
    arrived = {path.read_bytes() for path in (tmp_path / "out").glob("*.csv")}
    assert arrived == {history.read_bytes()}


@pytest.mark.embedded
def test_what_this_user_may_not_do_ends_with_7(history: Path) -> None:
    if os.getuid():
        pytest.skip("only root can be somebody else")
    with TemporaryDirectory() as name:  # others may not look into pytest's
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "journals").mkdir()
        (folder / "journals").chmod(0o777)
        mine = folder / "tickets.csv"
        mine.write_bytes(history.read_bytes())
        line = [sys.executable, "-c", AS_NOBODY, str(mine), *flags(folder)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 7
        assert f"{folder}/out" in done.stderr
        mine.chmod(0o600)
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 7
        assert "may not read it" in done.stderr


def test_a_bucket_that_is_not_there_ends_with_3(tmp_path: Path, history: Path, s3: str) -> None:
    done = command(history, "--to", "s3://of-nobody/x", "--journal", tmp_path / "j")
    assert done.returncode == 3
    assert "there is no bucket of-nobody" in done.stderr


class stopped_half_way:  # noqa: N801  # a context manager
    """A slow load, while the body runs; then it is stopped by Ctrl-C."""

    def __init__(self, history: Path, tmp_path: Path) -> None:
        slow = [*flags(tmp_path), "--max-rate", "1k", "--restart"]
        self._line = [sys.executable, "-m", "prestacop", "load", str(history), *slow]
        self._journals = tmp_path / "journals"
        self.printed = ""

    def __enter__(self) -> "stopped_half_way":
        self._process = subprocess.Popen(self._line, stderr=subprocess.PIPE, text=True)
        while not any(path.stat().st_size for path in self._journals.glob("*.journal")):
            assert self._process.poll() is None
            time.sleep(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGINT)
        _, self.printed = self._process.communicate(timeout=300)
        self.code = self._process.returncode


@pytest.mark.embedded
def test_ctrl_c_prints_how_to_resume_and_status_prints_the_progress(tmp_path: Path, history: Path) -> None:
    journals = ("--journal", f"{tmp_path}/journals")
    assert "nothing was loaded" in command("--status", *journals).stdout
    with stopped_half_way(history, tmp_path) as running:
        assert "loading" in command("--status", *journals).stdout
    assert running.code == 130
    assert f"prestacop load {history}" in running.printed
    assert "--restart" not in running.printed  # which would not go on
    assert "stopped" in command("--status", *journals).stdout
    assert command(history, *flags(tmp_path)).returncode == 0
    final = command("--status", *journals).stdout
    assert final.startswith("loaded")
    assert f"{history} -> file:{tmp_path}/out" in final


@pytest.mark.embedded
def test_status_of_a_gzip_file_counts_compressed_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "WRITTEN_EVERY_S", -1)
    packed = tmp_path / "tickets.csv.gz"
    # Since Python 3.12 gzip reads 128 KiB ahead: a small part of this file.
    packed.write_bytes(gzip.compress(make_history(tmp_path / "tickets.csv", 20_000).read_bytes()))
    with pytest.raises(Interrupted):
        to(Collected([], rows=1_000, most=10), tmp_path / "journals", packed)
    (line,) = command("--status", "--journal", tmp_path / "journals").stdout.splitlines()
    assert 40 <= int(line.split("%")[0]) <= 75  # of its text there is more than the file is long
    assert " 9,999 rows" in line


@pytest.mark.embedded
def test_a_second_loader_of_the_same_file_is_refused_and_other_files_are_loaded(tmp_path: Path, history: Path) -> None:
    other = make_history(tmp_path / "others.csv", 1_000, "--seed", "2")
    with stopped_half_way(history, tmp_path):
        done = command(history, *flags(tmp_path))
        assert done.returncode == 8
        assert "another process" in done.stderr
        # Of another computer, whose journal is its own: the output is held too.
        done = command(history, "--to", f"file:{tmp_path}/out", "--journal", tmp_path / "elsewhere")
        assert done.returncode == 8
        assert command(other, *flags(tmp_path)).returncode == 0
    assert command(history, *flags(tmp_path)).returncode == 0
    order = [
        line.split(" -> ")[0].split()[-1] for line in command("--status", *flags(tmp_path)[2:]).stdout.splitlines()
    ]
    assert order == [str(other), str(history)]  # the latest at the end
    arrived = {path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert arrived == {history.read_bytes(), other.read_bytes()}


def test_the_maximum_rate_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "tickets.csv"
    source.write_bytes(HEADER + ROWS)
    monkeypatch.setattr(to_file, "CHUNK_BYTES", 24)
    passed: list[float] = []
    monkeypatch.setattr("apps.loader.load.time.sleep", passed.append)
    monkeypatch.setattr("apps.loader.load.time.monotonic", lambda: sum(passed))
    options = loading.LoadOptions(tmp_path / "j", "T", lambda _: ToFile(tmp_path / "out"), 1, max_rate=48, quiet=True)
    loading.load(source, options)
    assert passed == [0.5] * 6
