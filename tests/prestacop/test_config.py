"""``prestacop config``, and the settings of the commands as they are."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestacop.commands import SUBCOMMANDS
from prestacop.main import main
from prestacop.parsers import parser_of
from terminal.arguments import Parser, leaves, settable
from tests.endings import ending
from tests.logs import own_log

CANDIDATES = (
    *(
        "x",
        "1",
        "100",
        "1h",
        "10%",
        "1M",
        "0.5",
        "file:x",
        "kafka://h:1/topic",
        "kafka://h:1",
        "pubsub://p/name",
        "s3://b/p",
    ),
    *("2025-01-31", "2025-01-31T00:00:00Z", "https://h/x", "a@example.org", "127.0.0.1", "365d", "34"),
)
"""Each flag takes one of these."""


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    with own_log():
        yield


def valid(leaf: Parser, action: argparse.Action) -> str:
    for text in [*map(str, action.choices or ()), *CANDIDATES]:
        try:
            leaf._check_value(action, leaf._get_value(action, text))
        except argparse.ArgumentError:
            continue
        return text
    raise AssertionError(f"add a valid value of {action.option_strings} of {leaf.prog}")


def test_each_flag_of_each_command_is_set_by_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prestacop.toml"
    for leaf in (leaf for name in SUBCOMMANDS for leaf in leaves(parser_of(name)).values()):
        flags = settable(leaf)
        texts = {key: "true" if action.nargs == 0 else valid(leaf, action) for key, action in flags.items()}
        expected = [f"--{key}" if flags[key].nargs == 0 else f"--{key}={text}" for key, text in texts.items()]
        lines = (f"{key} = {text if flags[key].nargs == 0 else repr(text)}\n" for key, text in texts.items())
        file.write_text(f"[{'.'.join(leaf.command)}]\n{''.join(lines)}")
        assert leaf.words_of_settings(["--config", str(file)]) == expected
        for scope in ("".join(f"{word}__" for word in leaf.command), ""):
            with monkeypatch.context() as patch:
                for key, text in texts.items():
                    patch.setenv(f"PRESTACOP_{scope}{key}".upper().replace("-", "_"), text)
                assert leaf.words_of_settings([]) == expected


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, list[str]], str]:
    """The exit code of ``prestacop config``, the rows that it prints by flag, and its errors."""
    code, error = 0, ""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["config", *words])
    code = int(left.value.code or 0)
    out, error = capsys.readouterr()
    rows = [line.split(maxsplit=2) for line in out.splitlines() if line.startswith("  --")]
    return code, {flag: rest for flag, *rest in rows}, error


def test_config_prints_each_flag_and_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.toml"
    file.write_text('quiet = true\n[run]\nmessages = "file:m.jsonl"\nskew = "1m"\n[run.beam]\nrunner = "FlinkRunner"\n')
    monkeypatch.setenv("PRESTACOP_LAKE", "data/lake")
    monkeypatch.setenv("PRESTACOP_RUN__SKEW", "30s")
    code, rows, error = printed(capsys, "run", "--mode", "bounded", "--parallelism=2", "--config", str(file))
    assert (code, error) == (0, "")
    assert rows["--lake"] == ["data/lake", "environment variable PRESTACOP_LAKE"]
    assert rows["--skew"] == ["30s", "environment variable PRESTACOP_RUN__SKEW"]
    assert rows["--messages"] == ["file:m.jsonl", f"file {file}, [run] messages"]
    assert rows["--quiet"] == ["true", f"file {file}, quiet"]
    assert rows["--mode"] == ["bounded", "command line"]
    assert rows["--parallelism"] == ["2", "command line"]
    assert rows["--runner"] == ["FlinkRunner", f"file {file}, [run.beam] runner"]
    assert rows["--window"] == ["1h", "default"]
    assert rows["--dry-run"] == ["false", "default"]
    assert set(rows) == {"--runner", "--parallelism", *(f"--{key}" for key in settable(parser_of("run")))}
    assert printed(capsys, "--config", str(file), "run", "--mode", "bounded", "--parallelism=2")[1] == rows


def test_config_of_all_commands_prints_what_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys) == (0, {}, "")
    monkeypatch.setenv("PRESTACOP_CONSOLE__PORT", "8301")
    assert printed(capsys) == (0, {"--port": ["8301", "environment variable PRESTACOP_CONSOLE__PORT"]}, "")


@pytest.mark.parametrize("words", [["console", "--port", "0"], ["run"], ["flink", "submit", "--lake", "x"], ["nope"]])
def test_config_checks_what_it_prints(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, rows, error = printed(capsys, *words)
    assert code == 2
    assert error.startswith("error: ")
    assert bool(rows) == (words != ["nope"])


def test_config_prints_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter22")
    hook = "https://hunter22@hooks.example.org/services/T0/hunter23?token=hunter24"
    monkeypatch.setenv("PRESTACOP_ALERT_WEBHOOK", hook)
    _, rows, _ = printed(capsys, "run", "--lake", "s3://b/hunter22")
    assert rows["--alert-webhook"][0] == "https://hooks.example.org/***"
    assert rows["--lake"][0] == "s3://b/***"


def test_a_variable_that_no_command_knows_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PRESTACOP_LAEK", "PRESTACOP_RNU__LAKE", "PRESTACOP_TRACE__LAEK", "PRESTACOP_CONSOLE__PROT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PRESTACOP_PORT", "9000")  # not of this command, but of another
    _, error = ending(capsys, main, "trace", "m1", "--lake", "/no/such/lake")
    assert sorted(error.splitlines()[:-1]) == [
        "warning: environment variable PRESTACOP_LAEK: no command of prestacop has a flag --laek; did you mean --lake?",
        "warning: environment variable PRESTACOP_RNU__LAKE: prestacop has no command 'rnu'; did you mean run?",
        "warning: environment variable PRESTACOP_TRACE__LAEK: prestacop trace has no flag --laek; did you mean --lake?",
    ]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("laek = 1", 2),
        ("[rnu]\nlake = 1", 2),
        ("[flink]\nlaek = 1", 2),
        ("[flink.summit]\nlake = 1", 2),
        ("port = 9000\n[console]\nprot = 1\n[flink.submit]\nlake = 'x'", 3),  # those are for others
    ],
)
def test_a_key_that_no_command_knows_is_an_error(
    file: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(file)
    monkeypatch.setenv("PRESTACOP_CONFIG", str(path))
    name = ["flink", "up"] if "laek" in file or "summit" in file else ["trace", "m1", "--lake", "/no/such/lake"]
    found, error = ending(capsys, main, *name)
    assert (found, len(error.splitlines())) == (code, 1)
    assert code == 3 or ("did you mean" in error and str(path) in error)
    if code == 3:
        assert printed(capsys)[0] == 2  # config looks at all


def test_the_file_in_the_docs_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "prestacop.toml"
    path.write_text(example)
    for name in ("run", "console"):
        code, rows, error = printed(capsys, "--config", str(path), name, "--log-format", "text")
        assert (code, error) == (0, "")
        assert any(str(path) in row[1] for row in rows.values())
