"""Before it goes on the loader looks: at its journal, and at what had arrived."""

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.loader.command import main
from apps.loader.kafka_state import TopicState, check_still_there
from apps.loader.load import LoadOptions, load
from apps.loader.target import TargetChanged
from schemas.errors import InputUnusable
from terminal.printing import guarded_output
from tests.apps.loader.loads import HEADER, ROWS, Collected, CutFile, Interrupted, to
from tests.schemas.files.test_kinds import PACK

pytestmark = pytest.mark.usefixtures("small_steps")


def line(tmp_path: Path, *files: Path) -> list[str]:
    """The command for files that go to a directory."""
    return [*map(str, files), "--to", f"file:{tmp_path}/out", "--journal", f"{tmp_path}/journals", "--quiet"]


def half_way(tmp_path: Path, source: Path) -> Path:
    """The journal of a load that :func:`line` would go on with."""
    options = LoadOptions(
        tmp_path / "journals", f"file:{tmp_path}/out", lambda _: CutFile(tmp_path / "out", 2), 1, quiet=True
    )
    with pytest.raises(Interrupted):
        load(source, options)
    (journal,) = (tmp_path / "journals").iterdir()
    return journal


def written(text: bytes) -> bytes:
    """A line of a journal, whatever is in it."""
    return b"%08x %s\n" % (zlib.crc32(text), text)


def changed(line_number: int, **fields: Any) -> Callable[[list[bytes]], bytes]:
    """A journal in one of whose lines other fields stand."""

    def change(lines: list[bytes]) -> bytes:
        entry = json.loads(lines[line_number][9:]) | fields
        return b"".join([*lines[:line_number], written(json.dumps(entry).encode())])

    return change


ODD: dict[str, tuple[Callable[[list[bytes]], bytes], str]] = {
    "text": (lambda _: b"Dear diary,\ntoday\n", "is not a journal"),
    "a picture": (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a journal"),
    "no newline": (lambda _: b"something else", "is not a journal"),
    "no JSON": (lambda _: written(b"hello"), "is not a journal"),
    "no object": (lambda _: written(b"[1]"), "is not a journal"),
    "null": (lambda _: written(b"null"), "is not a journal"),
    "no UTF-8": (lambda _: written(b'{"v": "\xff"}'), "is not a journal"),
    "too deep": (lambda _: written(b"[" * 30_000), "is not a journal"),
    "other fields": (lambda _: written(b'{"v": 1}'), "is not a journal"),
    "a newer version": (changed(0, v=2), r"another version of the loader \(2, not 1\)"),
    "a version that is none": (changed(0, v={}), "another version of the loader"),
    "another file": (changed(0, path="/elsewhere.csv"), r"is the journal of another load, /elsewhere\.csv to file:"),
    "another target": (changed(0, target="file:/x"), "is the journal of another load"),
    "a negative place": (changed(1, offset=-1), "is not a journal"),
    "a place in words": (changed(1, offset="far"), "is not a journal"),
    "a broken place": (changed(1, offset=1.5), "is not a journal"),
    "no such time": (changed(1, at=1e300), "is not a journal"),
    "no number": (changed(1, at=float("nan")), "is not a journal"),
    "offsets in words": (changed(1, acknowledged={"0": ["a", "b"]}), "is not a journal"),
    "escape sequences": (changed(0, path="\x1b[31m"), "is the journal of another load"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_damaged_journal_ends_with_2_and_one_line_that_names_the_fault(
    tmp_path: Path, source: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = half_way(tmp_path, source)
    make, expected = ODD[name]
    content = make(journal.read_bytes().splitlines(keepends=True))
    journal.write_bytes(content)
    for command in (line(tmp_path, source), ["--status", "--journal", str(journal.parent)]):
        with guarded_output():
            code = main(command)
        (shown,) = capsys.readouterr().err.splitlines() or [""]
        assert shown.isprintable()
        if "another load" in expected and "--status" in command:
            continue  # there it is as good as others
        assert code == 2
        assert str(journal) in shown
        assert re.search(expected, shown)
        assert "Move it away" in shown
    assert journal.read_bytes() == content
    journal.unlink()
    assert main(line(tmp_path, source)) == 0


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_journal_must_be_a_regular_file(
    tmp_path: Path, source: Path, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    journal = half_way(tmp_path, source)
    journal.unlink()
    make(journal)
    for command in (line(tmp_path, source), ["--status", "--journal", str(journal.parent)]):
        assert main(command) == 2
        (shown,) = capsys.readouterr().err.splitlines()
        assert str(journal.parent) in shown


@pytest.mark.embedded
def test_a_journal_on_a_disk_that_is_read_only_ends_with_2(tmp_path: Path, source: Path) -> None:
    half_way(tmp_path, source)
    run = "mount -o bind,ro {0} {0} 2>/dev/null || mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec {1}"
    command = " ".join([sys.executable, "-m", "prestacop", "load", *line(tmp_path, source)])
    script = run.format(tmp_path / "journals", command)
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if "prestacop" not in done.stderr and "Read-only" not in done.stderr:
        pytest.skip(f"only root can mount: {done.stderr}")
    assert done.returncode == 2
    (shown,) = done.stderr.splitlines()
    assert "Read-only file system" in shown


@given(st.binary(max_size=80), st.booleans())
def test_any_journal_content_is_resumed_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, is_whole: bool
) -> None:
    tmp_path = tmp_path_factory.mktemp("odd")
    source = tmp_path / "tickets.csv"
    source.write_bytes(HEADER + ROWS)
    journal = half_way(tmp_path, source)
    journal.write_bytes(written(content) if is_whole else content)
    assert main(line(tmp_path, source)) in (0, 2)


def test_a_file_missing_at_the_target_is_detected_and_other_files_are_loaded(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(tmp_path, source)) == 0
    (arrived,) = (tmp_path / "out").iterdir()
    arrived.unlink()
    other = tmp_path / "others.csv"
    other.write_bytes(HEADER + ROWS * 2)
    assert main(line(tmp_path, source, other)) == 2
    (shown,) = capsys.readouterr().err.splitlines()
    assert "is missing or has another size" in shown
    assert "--restart" in shown
    assert [path.read_bytes() for path in (tmp_path / "out").glob("*.csv")] == [other.read_bytes()]
    assert main([*line(tmp_path, source), "--restart"]) == 0
    assert arrived.read_bytes() == source.read_bytes()


def test_a_missing_part_is_reported_and_sent_again(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half_way(tmp_path, source)
    (part,) = (tmp_path / "out").iterdir()
    part.unlink()
    assert main(line(tmp_path, source)) == 0
    assert "the target had lost some of it" in capsys.readouterr().out
    (arrived,) = (tmp_path / "out").iterdir()
    assert arrived.read_bytes() == source.read_bytes()


def test_an_emptied_prefix_is_detected(
    tmp_path: Path, source: Path, s3: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(source), "--to", f"{s3}/in", "--journal", f"{tmp_path}/j", "--quiet"]
    client = boto3.client("s3")
    assert main(command) == 0
    assert main(command) == 0
    (found,) = client.list_objects_v2(Bucket="lake")["Contents"]
    client.delete_object(Bucket="lake", Key=found["Key"])
    assert main(command) == 2
    assert "is missing or has another size" in capsys.readouterr().err
    assert main([*command, "--restart"]) == 0
    assert client.get_object(Bucket="lake", Key=found["Key"])["Body"].read() == source.read_bytes()


KNOWN = {"topic": "a" * 32, "acknowledged": {"1": [5, 9]}, "offset": 100}


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        (KNOWN, TopicState("a" * 32, {"0": (0, 0), "1": (0, 10)}), None),
        (KNOWN, TopicState("a" * 32, {"1": (5, 10)}), None),
        (KNOWN, TopicState("", {"1": (5, 10)}), None),
        (KNOWN | {"topic": ""}, TopicState("b" * 32, {"1": (5, 10)}), None),
        (KNOWN, TopicState("b" * 32, {"1": (0, 10)}), "was deleted and created again"),
        (KNOWN, TopicState("a" * 32, {"1": (6, 10)}), "begins at offset 6, and the file at 5"),
        (KNOWN, TopicState("a" * 32, {"1": (10, 10)}), "begins at offset 10"),
        (KNOWN, TopicState("a" * 32, {"1": (0, 9)}), "ends at offset 9, and message 9"),
        (KNOWN, TopicState("a" * 32, {"0": (0, 99)}), "ends at offset 0"),
        ({"offset": 100}, TopicState("a" * 32, {"0": (7, 7), "1": (0, 0)}), "is empty"),
        ({"offset": 100}, TopicState("a" * 32, {"0": (7, 8), "1": (0, 0)}), None),
        ({}, TopicState("a" * 32, {"0": (0, 0)}), None),
    ],
)
def test_a_topic_is_compared_with_the_acknowledged_offsets(
    known: Mapping[str, Any], found: TopicState, expected: str | None
) -> None:
    if expected is None:
        check_still_there("kafka://x/t", known, found)
    else:
        with pytest.raises(TargetChanged, match=f"{expected}.* --restart"):
            check_still_there("kafka://x/t", known, found)


def test_two_files_of_one_name_do_not_collide(tmp_path: Path, source: Path) -> None:
    """The journal's name is made of file and target."""
    assert main(line(tmp_path, source)) == 0
    assert main([*line(tmp_path, source)[:1], "--to", f"file:{tmp_path}/out2", *line(tmp_path)[2:]]) == 0
    assert len(list((tmp_path / "journals").iterdir())) == 2


@pytest.mark.parametrize("packing", PACK)
def test_a_decompression_bomb_is_stopped_and_ignored_by_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr("apps.loader.source.ANY_RATIO_BYTES", 1 << 20)
    bomb = tmp_path / "tickets.csv.packed"
    bomb.write_bytes(PACK[packing](HEADER + ROWS + bytes(16 << 20)))
    topic: list[bytes] = []
    with pytest.raises(InputUnusable, match="decompress it yourself"):
        to(Collected(topic, rows=500), tmp_path / "j", bomb)
    assert sum(map(len, topic)) < 2 << 20
    assert all(b'"size": null' in message for message in topic)


LONG = "t" * 240


@pytest.mark.parametrize(
    ("source_name", "to_url", "environment", "code"),
    [
        ("tickets.csv", "s3://bucket", {"AWS_ENDPOINT_URL": "127.0.0.1:9"}, 2),
        ("tickets.csv", "s3://bucket", {"AWS_PROFILE": "nobody"}, 7),
        ("tickets.csv", "s3://not a bucket/x", {}, 2),
        ("tickets.csv", "s3://bu\ncket/x", {}, 2),
        (LONG + ".csv", "file:{tmp}/out", {}, 2),
        ("x" * 300 + ".csv", "file:{tmp}/out", {}, 3),
        ("tickets.csv", "file:{tmp}/" + "y" * 300, {}, 2),
        ("no/such/folder.csv", "file:{tmp}/out", {}, 3),
        (".", "file:{tmp}/out", {}, 3),
        ("tickets.csv", "file:/proc/nowhere", {}, 2),
    ],
)
def test_each_error_of_the_operating_system_is_one_line_with_its_exit_code(
    tmp_path: Path,
    source_name: str,
    to_url: str,
    environment: dict[str, str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (keys | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("tickets.csv", LONG + ".csv"):
        (tmp_path / name).write_bytes(HEADER + ROWS)
    command = [
        f"{tmp_path}/{source_name}",
        "--to",
        to_url.format(tmp=tmp_path),
        "--journal",
        f"{tmp_path}/j",
        "--quiet",
    ]
    assert main([*command, "--patience", "1s"]) == code
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith("error: ")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), OSError("without a number")])
def test_an_unforeseen_os_error_is_one_line_too(
    tmp_path: Path,
    source: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("apps.loader.load.look_at", fail)
    assert main(line(tmp_path, source)) == 3
    (shown,) = capsys.readouterr().err.splitlines()
    assert "reading failed" in shown
