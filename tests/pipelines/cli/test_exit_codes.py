"""Exit code 1 is said of rows that do not add up and of nothing else; one line says what to do."""

import os
from pathlib import Path

import pytest

from apps.loader.command import main as load
from apps.simulator.command import main as simulate
from lake.storage import storage
from pipelines.analysis.command import main as analysis
from pipelines.analysis.fines import main as fines
from pipelines.cli.app import run
from pipelines.maintenance.compact import main as compact
from pipelines.maintenance.reconcile import main as reconcile
from pipelines.maintenance.replay import main as replay
from pipelines.maintenance.trace import main as trace
from pipelines.violations.run import main as violations
from runners.live.command import main as live
from runners.local import main as run_local
from runners.provision.command import main as topics
from schemas.errors import BUG, NotReconciled
from terminal.exits import exit_with
from tests.endings import Main, ending
from tests.faulty_s3 import FaultyS3
from tests.support import make_messages


def history(path: Path) -> str:
    """A file of one row."""
    path.write_text(
        "Summons Number,Plate ID,Issue Date,Violation Code,Violation Time\n7000000001,A,01/02/2015,21,0825A\n"
    )
    return str(path)


RATES = "CODE,DEFINITION,Manhattan\u00a0 96th St. & below,All Other Areas\n21,STREET CLEANING,65,45\n"
FLEET = ("--drones", "2", "--seconds", "2")
WRITERS: dict[str, tuple[Main, list[str]]] = {
    "violations": (violations, ["--history", "H", "--lake", "PLACE", "--quiet"]),
    "run-local": (run_local, ["--history", "H", "--lake", "PLACE", "--report", "NEW", "--quiet"]),
    "loader": (load, ["H", "--to", "TO", "--journal", "JOURNAL", "--quiet", "--patience", "1s"]),
}
READERS: dict[str, tuple[Main, list[str]]] = {
    "analysis": (analysis, ["--lake", "PLACE", "--report", "NEW", "--quiet"]),
    "reconcile": (reconcile, ["--lake", "PLACE", "--quiet"]),
    "fines": (fines, ["--lake", "PLACE", "--codes", "CODES"]),
    "trace": (trace, ["1", "--lake", "PLACE"]),
    "compact": (compact, ["--lake", "PLACE", "--quiet"]),
    "replay": (replay, ["--lake", "PLACE", "--reason", "code_missing", "--quiet"]),
}
FILES: dict[str, tuple[Main, list[str]]] = {
    "history": (simulate, ["history", "--rows", "9", "--output", "PLACE", "--quiet"]),
    "drones": (simulate, ["drones", *FLEET, "--output", "file:PLACE", "--quiet"]),
    "report": (analysis, ["--lake", "NEW", "--report", "PLACE", "--quiet"]),
    "live": (live, ["--data", "PLACE/live", "--seconds", "1"]),
}
ALL = WRITERS | READERS
HERE = ALL | FILES
S3_ALONE = ALL | {"topics": (topics, ["--lake", "PLACE"])}
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "PRESTACOP_S3_PATIENCE": "1", **KEYS}
TABLE: dict[str, tuple[str, dict[str, str], dict[str, tuple[Main, list[str]]], int]] = {
    "empty part": ("s3://b//lake", NOWHERE, S3_ALONE, 2),
    "no bucket named": ("s3://", NOWHERE, S3_ALONE, 2),
    "nor after three slashes": ("s3:///lake", NOWHERE, S3_ALONE, 2),
    "no bucket's name": ("s3://B_%/lake", NOWHERE, S3_ALONE, 2),
    "no such scheme": ("az://b/lake", {}, ALL, 2),
    "endpoint without scheme": ("s3://b/lake", {"AWS_ENDPOINT_URL": "127.0.0.1:9"}, S3_ALONE, 2),
    "endpoint with a word for a port": ("s3://b/lake", {"AWS_ENDPOINT_URL": "http://127.0.0.1:x"}, S3_ALONE, 2),
    "endpoint with no such port": ("s3://b/lake", {"AWS_ENDPOINT_URL": "http://127.0.0.1:99999"}, S3_ALONE, 2),
    "no region's name": ("s3://b/lake", NOWHERE | {"AWS_DEFAULT_REGION": "no region"}, S3_ALONE, 2),
    "nobody listens": ("s3://b/lake", NOWHERE, S3_ALONE, 4),
    "unknown profile": ("s3://b/lake", {"AWS_PROFILE": "nobody"}, S3_ALONE, 7),
    "no UTF-8": ("/tmp/\udcff", {}, ALL, 2),
    "too long": (f"/tmp/{'x' * 300}", {}, HERE, 2),
    "too long a path": ("/tmp" + "/abc" * 2_000, {}, HERE, 2),
    "below a device": ("/dev/null/lake", {}, WRITERS | FILES, 2),
    "not writable": ("/proc/lake", {}, WRITERS | FILES, 2),
    "no lake there": ("/nowhere/lake", {}, {k: v for k, v in READERS.items() if k not in ("compact", "replay")}, 3),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.embedded) if kind == "nobody listens" else kind for kind in TABLE]
)
def test_a_place_that_cannot_be_used_has_one_code_in_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    place, environment, commands, expected = TABLE[kind]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipelines.violations.run.run_graph", lambda *_: pytest.fail("it began to work"))
    monkeypatch.setattr("lake.storage.s3.FIRST_CONTACT_S", 0.1)
    (tmp_path / "codes.csv").write_text(
        "CODE,DEFINITION,Manhattan\u00a0 96th St. & below,All Other Areas\n21,X,65,45\n"
    )
    words = {
        "H": history(tmp_path / "h.csv"),
        "CODES": f"{tmp_path}/codes.csv",
        "NEW": f"{tmp_path}/new.html",
        "JOURNAL": f"{tmp_path}/journal",
        "TO": place if "://" in place else f"file:{place}",
    }
    found = {}
    for name, (main, argv) in commands.items():
        storage.cache_clear()
        code, printed = ending(capsys, main, *(words.get(word, word.replace("PLACE", place)) for word in argv))
        lines = [line for line in printed.splitlines() if not line.startswith(("usage:", " "))]
        found[name] = (code, len(lines), "Traceback" in printed)
    storage.cache_clear()
    assert found == dict.fromkeys(commands, (expected, 1, False))


READS: dict[str, tuple[Main, list[str]]] = {
    "history": (violations, ["--history", "FILE", "--lake", "LAKE", "--quiet"]),
    "messages": (violations, ["--messages", "file:FILE", "--lake", "LAKE", "--quiet"]),
    "images": (violations, ["--images", "file:FILE", "--lake", "LAKE", "--quiet"]),
    "keys": (violations, ["--messages", "file:M", "--officer-keys", "FILE", "--lake", "LAKE", "--quiet"]),
    "run-local": (run_local, ["--history", "FILE", "--lake", "LAKE", "--report", "NEW", "--quiet"]),
    "loader": (load, ["FILE", "--to", "file:TO", "--journal", "JOURNAL", "--quiet"]),
    "fines": (fines, ["--lake", "LAKE", "--codes", "FILE"]),
    "analysis": (analysis, ["--lake", "LAKE", "--codes", "FILE", "--report", "NEW", "--quiet"]),
}
BAD_FILES = (
    "no file",
    "no UTF-8",
    "too long",
    "a directory",
    "dangling",
    "loop",
    "empty",
    "a device",
    "a pipe",
    "bytes",
)
FINE = {"empty": ("messages", "images"), "a pipe": ("keys", "fines", "analysis")}
"""A recording may have no message, and what is read from its start to its end may come from a pipe."""


def bad_file(folder: Path, kind: str) -> str:
    """A file that is none."""
    path = folder / "bad.csv"
    if kind == "no UTF-8":
        path = folder / "bad\udcff.csv"
        history(path)
    elif kind == "too long":
        path = folder / ("x" * 300)
    elif kind == "directory":
        path.mkdir()
    elif kind in ("dangling", "loop"):
        path.symlink_to(path if kind == "loop" else folder / "nowhere")
    elif kind == "empty":
        path.touch()
    elif kind == "device":
        path = Path("/dev/null")
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "bytes":
        path.write_bytes(bytes(range(256)) * 9)
    return str(path)


@pytest.mark.parametrize("kind", BAD_FILES)
def test_an_input_that_cannot_be_used_is_3_in_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    words = {
        "FILE": bad_file(tmp_path, kind),
        "M": str(make_messages(tmp_path / "m.jsonl", 2, 2)),
        "LAKE": f"{tmp_path}/lake",
        "NEW": f"{tmp_path}/new.html",
        "TO": f"{tmp_path}/to",
        "JOURNAL": f"{tmp_path}/journal",
    }
    found = {}
    for name, (main, argv) in READS.items():
        if name not in FINE.get(kind, ()):
            code, printed = ending(capsys, main, *(_filled(word, words) for word in argv))
            found[name] = (code, len(printed.splitlines()), "Traceback" in printed)
    assert found == dict.fromkeys(found, (3, 1, False))


def _filled(word: str, words: dict[str, str]) -> str:
    scheme, colon, rest = word.rpartition(":")
    return scheme + colon + words.get(rest, rest)


def test_no_hard_links_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr("pipelines.violations.run.run_graph", lambda *_: pytest.fail("it began to work"))
    argv = ["--history", history(tmp_path / "h.csv"), "--lake", str(tmp_path / "lake"), "--quiet"]
    code, printed = ending(capsys, violations, *argv)
    assert (code, "no hard links" in printed) == (2, True)


@pytest.mark.parametrize(("live", "expected"), [("/proc/live", 2), ("/dev/full", 5)])
def test_live_statistics_that_cannot_be_written_have_their_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], live: str, expected: int
) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 3, 100)
    argv = ["--messages", f"file:{messages}", "--lake", str(tmp_path / "lake"), "--live", f"file:{live}", "--quiet"]
    code, printed = ending(capsys, violations, *argv)
    assert code == expected
    assert [line for line in printed.splitlines() if line.startswith(("Traceback", "error"))] == [
        printed.splitlines()[-1]
    ]


@pytest.mark.parametrize("name", ["\udcff.csv", "x" * 300, "missing.csv"])
def test_an_input_that_cannot_be_named_has_one_code_in_pipeline_and_loader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = str(tmp_path / name)
    if name == "\udcff.csv":
        history(Path(path))
    pipeline = ending(capsys, violations, "--history", path, "--lake", str(tmp_path / "lake"), "--quiet")
    loader = ending(capsys, load, path, "--to", f"file:{tmp_path / 'to'}", "--journal", str(tmp_path), "--quiet")
    assert (pipeline[0], loader[0]) == (3, 3)
    assert (pipeline[1].count("\n"), loader[1].count("\n")) == (1, 1)


def test_a_bucket_that_is_not_there_has_one_code_everywhere(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, nowhere = history(tmp_path / "h.csv"), "s3://nowhere/lake"
    codes = [
        ending(capsys, violations, "--history", file, "--lake", nowhere, "--quiet")[0],
        ending(capsys, violations, "--history", f"{nowhere}/x.csv", "--lake", s3, "--quiet")[0],
        ending(capsys, load, file, "--to", nowhere, "--journal", str(tmp_path), "--quiet")[0],
        ending(capsys, reconcile, "--lake", nowhere, "--quiet")[0],
        ending(capsys, compact, "--lake", nowhere, "--quiet")[0],
    ]
    storage.cache_clear()
    assert codes == [3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("answer", "expected", "advice"),
    [
        (("403 Forbidden", "AccessDenied"), 7, "rights"),
        (("403 Forbidden", "SignatureDoesNotMatch"), 7, "keys"),
        (("403 Forbidden", "InvalidAccessKeyId"), 7, "keys"),
        (("403 Forbidden", "RequestTimeTooSkewed"), 7, "clock"),
        (("400 Bad Request", "ExpiredToken"), 7, "new credentials"),
        (("400 Bad Request", "InvalidToken"), 7, "new credentials"),
        (("400 Bad Request", "AuthorizationHeaderMalformed"), 2, "AWS_DEFAULT_REGION"),
    ],
)
def test_what_s3_refuses_has_one_code_in_every_command(
    faulty_s3: FaultyS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[str, str],
    expected: int,
    advice: str,
) -> None:
    faulty_s3.refuse_everything(*answer)
    monkeypatch.setenv("PRESTACOP_S3_PATIENCE", "1")
    (tmp_path / "codes.csv").write_text(RATES)
    words = {
        "H": history(tmp_path / "h.csv"),
        "CODES": f"{tmp_path}/codes.csv",
        "NEW": f"{tmp_path}/new.html",
        "JOURNAL": f"{tmp_path}/journal",
        "TO": "s3://lake/x",
    }
    reads = {"input": (violations, ["--history", "s3://lake/a.csv", "--lake", f"{tmp_path}/lake", "--quiet"])}
    found = {}
    for name, (main, argv) in (S3_ALONE | reads).items():
        storage.cache_clear()
        code, printed = ending(capsys, main, *(words.get(word, word.replace("PLACE", "s3://lake/x")) for word in argv))
        found[name] = (code, len(printed.splitlines()), answer[1] in printed, advice in printed)
    assert found == dict.fromkeys(found, (expected, 1, True, True))


def test_a_fault_of_the_program_is_70_with_its_traceback_and_how_to_report_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> int:
        raise KeyError("ours")

    for main in (lambda _: run(broken, ""), lambda _: exit_with(broken)):
        code, printed = ending(capsys, main)
        assert code == BUG == 70
        assert "Traceback" in printed
        assert "report" in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotReconciled("rows"), 1),
        (RuntimeError("x\nschemas.errors.NotReconciled: unit a [while running 'Commit']"), 1),
        (OSError(28, "No space left on device"), 5),
        (RuntimeError("Traceback\nOSError: [Errno 28] No space left on device: '/x' [while running 'Append']"), 5),
        (RuntimeError("Traceback\nPermissionError: [Errno 13] Permission denied: '/x' [while running 'A']"), 7),
        (RuntimeError("Traceback\nschemas.errors.LakeDamaged: x: damaged"), 3),
        (RuntimeError("Traceback\npyarrow.lib.ArrowInvalid: Parquet magic bytes not found in footer."), 3),
        (ValueError("what"), BUG),
        (RuntimeError("Traceback\nKeyError: 'x'"), BUG),
        (MemoryError(), BUG),
    ],
)
def test_each_error_has_its_code(capsys: pytest.CaptureFixture[str], error: Exception, expected: int) -> None:
    def fail() -> int:
        raise error

    assert ending(capsys, lambda _: run(fail, ""))[0] == expected
