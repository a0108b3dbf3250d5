"""Flags from the environment and from a file."""

import json
import os
import string
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal.arguments import Parser, command_parser, whole
from terminal.settings import OTHERS, without_settings
from tests.logs import own_log

SCOPED, SHARED, TABLE, TOP = "environment, command", "environment", "file, table", "file"
SOURCES = ("command line", SCOPED, SHARED, TABLE, TOP)
"""The first counts."""


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    with own_log():
        yield


def parser() -> Parser:
    made = command_parser("prestacop x", "x", "x")
    made.add_argument("--lake", required=True)
    made.add_argument("--max-rows", type=whole(1), default=7)
    made.add_argument("--dry-run", action="store_true")
    made.add_argument("--proxy", action="append", default=[])
    what = made.add_mutually_exclusive_group()
    what.add_argument("--plate")
    what.add_argument("--before")
    made.add_argument("--former", dest="max_rows", help="==SUPPRESS==")
    made.add_argument("files", nargs="*")
    return made


def as_toml(table: dict[str, object]) -> str:
    """All these values are written in TOML as in JSON."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())


TEXT = st.text(string.ascii_letters + string.digits + ":/-_=% é", min_size=1).map(lambda text: f"x{text}")
WORD = st.text(string.ascii_letters + string.digits + "./-", min_size=1)
VALUES = {
    "lake": TEXT,
    "max-rows": st.integers(1, 9999),
    "dry-run": st.booleans(),
    "proxy": st.lists(WORD, min_size=1, max_size=3),
}
SETTINGS = st.fixed_dictionaries(
    {}, optional={key: st.dictionaries(st.sampled_from(SOURCES), value) for key, value in VALUES.items()}
)


def words_of(flag: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{flag}"] if value else []
    return [f"--{flag}={one}" for one in (value if isinstance(value, list) else [value])]


@given(SETTINGS)
def test_the_first_source_that_sets_a_flag_counts(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, dict[str, object]]
) -> None:
    tables: dict[str, dict[str, object]] = {source: {} for source in SOURCES}
    winners: list[str] = []
    for key, values in found.items():
        by_source = {s: v for s, v in values.items() if v is not False or s != "command line"}
        for source, value in by_source.items():
            tables[source][key] = value
        if by_source:
            winners += words_of(key, by_source[min(by_source, key=SOURCES.index)])
    file = tmp_path_factory.getbasetemp() / "settings.toml"
    file.write_text(as_toml(tables[TOP]) + "[x]\n" + as_toml(tables[TABLE]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for source, prefix in ((SCOPED, "PRESTACOP_X__"), (SHARED, "PRESTACOP_")):
            for key, value in tables[source].items():
                text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
                patch.setenv(prefix + key.upper().replace("-", "_"), text)
        given_words = [word for key, value in tables["command line"].items() for word in words_of(key, value)]
        needed = [] if any("lake" in table for table in tables.values()) else ["--lake=needed"]
        parsed = parser().parse_args([f"--config={file}", *given_words, *needed, "a", "b"])
    expected = parser().parse_args([*winners, *needed, "a", "b"])
    assert parsed == Namespace(config=str(file), **vars(expected))


@pytest.mark.parametrize(
    ("environment", "file", "line", "expected"),
    [
        ({"PLATE": "AB1"}, 'before = "2025-01-01"', [], ("AB1", None)),
        ({"PLATE": "AB1"}, "", ["--before", "2025-01-01"], (None, "2025-01-01")),
        ({"X__BEFORE": "1", "PLATE": "AB1"}, "", [], (None, "1")),
        ({}, "before = 2025-01-31", [], (None, "2025-01-31")),
        ({}, 'plate = "AB1"\n[x]\nbefore = 2025-01-31', [], (None, "2025-01-31")),
    ],
)
def test_a_flag_hides_what_it_excludes_in_later_sources(
    environment: dict[str, str],
    file: str,
    line: list[str],
    expected: tuple[str | None, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, text in environment.items():
        monkeypatch.setenv(f"PRESTACOP_{key}", text)
    (tmp_path / "x.toml").write_text(file)
    monkeypatch.setenv("PRESTACOP_CONFIG", str(tmp_path / "x.toml"))
    found = parser().parse_args(["--lake", "x", *line])
    assert (found.plate, found.before) == expected


def test_a_flags_former_name_on_the_command_line_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTACOP_LAKE", "x")
    monkeypatch.setenv("PRESTACOP_MAX_ROWS", "5")
    monkeypatch.setenv("PRESTACOP_FORMER", "a former name is no setting")
    assert parser().parse_args(["--former", "given"]).max_rows == "given"
    assert parser().parse_args([]).max_rows == 5


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTACOP_MAX_ROWS", "")
    monkeypatch.setenv("PRESTACOP_CONFIG", "")
    assert parser().parse_args(["--lake", "x"]).max_rows == 7


def test_what_follows_two_dashes_is_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTACOP_LAKE", "set")
    found = parser().parse_args(["--", "--lake"])
    assert (found.lake, found.files) == ("set", ["--lake"])


@pytest.mark.parametrize(
    ("variables", "file", "expected"),
    [
        ({"MAX_ROWS": "many"}, "", "--max-rows is set by environment variable PRESTACOP_MAX_ROWS"),
        ({"X__MAX_ROWS": "0"}, "", "--max-rows is set by environment variable PRESTACOP_X__MAX_ROWS"),
        ({"DRY_RUN": "maybe"}, "", "--dry-run: 'maybe' is neither true nor false; --dry-run is set by environment"),
        ({}, "max-rows = 0", "'0' is not a whole number from 1; --max-rows is set by file FILE, max-rows"),
        ({}, "[x]\nmax-rows = 1.5", "--max-rows is set by file FILE, [x] max-rows"),
        ({}, "[x]\nmax-rows = [1, 2]", "[1, 2] is not a single text or number; --max-rows is set by file FILE"),
        ({}, "[x]\nlake = true", "argument --lake: True is not a single text or number"),
        ({}, "[x]\ndry-run = 1", "1 is neither true nor false"),
        ({}, "[x]\nplate = 'a'\nbefore = 'b'", "--plate is set by file FILE, [x] plate; --before is set by file FILE"),
        ({}, "[x]\nmaxrows = 1", "file FILE, [x] maxrows: prestacop x has no flag --maxrows; did you mean --max-rows?"),
        ({}, "[x]\nmax_rows = 1", "did you mean --max-rows?"),
        ({}, "[x]\nconfig = 'y'", "has no flag --config"),
        ({}, "[x.y]\nz = 1", "file FILE, [x.y] z: prestacop has no command 'x y'"),
        ({}, "[x.beam]\nlake = 'y'", "--lake is a flag of prestacop x, not one of Beam"),
        ({}, "[x.beam]\nrunner = 'y'", "arguments: --runner=y; --runner is set by file FILE, [x.beam] runner"),
        ({}, "[x", "--config FILE: Expected"),
        ({"CONFIG": "/no/such/file"}, None, "--config /no/such/file: No such file or directory"),
        ({"LOG_LEVEL": "loud"}, "", "--log-level is set by environment variable PRESTACOP_LOG_LEVEL"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_names_its_source_in_one_line(
    variables: dict[str, str],
    file: str | None,
    expected: str,
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "x.toml"
    if file is not None:
        path.write_text(file)
        monkeypatch.setenv("PRESTACOP_CONFIG", str(path))
    monkeypatch.setenv("PRESTACOP_LOG_FORMAT", form)
    for name, text in variables.items():
        monkeypatch.setenv(f"PRESTACOP_{name}", text)
    with pytest.raises(SystemExit) as left:
        parser().parse_args(["--lake", "x"] if "lake" not in expected else [])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    message = json.loads(line)["message"] if form == "json" else line
    assert expected.replace("FILE", str(path)) in message


def test_help_needs_no_valid_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PRESTACOP_CONFIG", "/no/such/file")
    with pytest.raises(SystemExit) as left:
        parser().parse_args(["--help"])
    assert not left.value.code
    assert "--config FILE" in capsys.readouterr().out


def test_flags_of_beam_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.toml"
    flags = 'parallelism = 4\nstreaming = true\nexperiments = ["a", "b"]\nsave = false\nrunner = "of the file"'
    path.write_text(f"[x.beam]\n{flags}")
    monkeypatch.setenv("PRESTACOP_X__BEAM__JOB_ENDPOINT", "localhost:1")
    _, rest = parser().parse_known_args(["--lake", "x", "--config", str(path), "--runner=given"])
    expected = {"--experiments=a", "--experiments=b", "--job_endpoint=localhost:1", "--parallelism=4", "--streaming"}
    assert set(rest) == {*expected, "--runner=given"}


def test_a_child_process_gets_no_settings() -> None:
    kept = dict.fromkeys(OTHERS, "x") | {"HOME": "/", "AWS_PROFILE": "x"}
    assert without_settings({**kept, "PRESTACOP_LAKE": "x", "PRESTACOP_CONFIG": "x"}) == kept


def test_the_tests_are_run_without_settings_of_the_developer() -> None:
    assert os.environ == without_settings(os.environ)
