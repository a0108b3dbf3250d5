"""The one command: its help, its version, what it imports, and completion."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prestacop import __version__
from prestacop.commands import SUBCOMMANDS
from prestacop.completion import SCRIPTS, complete
from prestacop.main import main, usage
from prestacop.parsers import parser_of
from tests.logs import own_log

HEAVY = ("apache_beam", "pyarrow", "duckdb", "deltalake")
_HELP_OF_ALL = f"""
import contextlib, io, json, sys
from prestacop.commands import SUBCOMMANDS
from prestacop.main import main
heavy = {{}}
for name in [*SUBCOMMANDS, "completion"]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([name, "--help"])
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        main([name, "--no-such-flag=1", "--log-level=none", "--log-format=json"])
    heavy[name] = [module for module in {HEAVY} if module in sys.modules], out.getvalue(), err.getvalue()
print(json.dumps(heavy))
"""


@pytest.mark.embedded
def test_help_and_usage_errors_import_no_engine() -> None:
    done = subprocess.run([sys.executable, "-c", _HELP_OF_ALL], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {name: modules for name, (modules, _, _) in found.items() if modules} == {}
    for name, (_, text, error) in found.items():
        assert text.startswith(f"usage: prestacop {name} ")
        assert "example" in text
        assert "--log-level" in text
        assert "--log-format" in text
        assert json.loads(error)["exit_code"] == 2


def test_the_usage_fits_a_terminal_and_names_each_command() -> None:
    lines = usage().splitlines()
    assert len(lines) < 30
    assert max(map(len, lines)) <= 80
    assert all(f"  {name} " in usage() for name in SUBCOMMANDS)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["help"], []])
def test_what_needs_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code
    assert capsys.readouterr().out == (f"prestacop {__version__}\n" if "--version" in words else usage() + "\n")


def test_a_misspelt_command_is_wrong_usage_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["reconsile"])
    assert left.value.code == 2
    assert "did you mean reconcile?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["reconsile"],
        ["run", "--lake", "x"],
        ["run", "--history", "x", "--lake", "x", "--mode", "unbounded", "--every", "30s"],
        ["load"],
        ["trace", "--wrong", "--lake", "x"],
    ],
)
def test_a_usage_error_is_json_wherever_the_flag_is_given(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with own_log(), pytest.raises(SystemExit) as left:
        main([*words, "--log-format", "json"])
    assert left.value.code == 2
    record = json.loads(capsys.readouterr().err)
    assert (record["level"], record["logger"], record["exit_code"]) == ("error", "prestacop", 2)


def test_one_flag_name_for_the_lake() -> None:
    for name in SUBCOMMANDS:
        shown = {flag for action in parser_of(name)._actions for flag in action.option_strings}
        if name not in ("run", "reconcile"):  # where it is a hidden alias
            assert "--output" not in shown
        elif shown:
            assert "--output" not in parser_of(name).format_help()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], "--history"),
        (["flink"], "submit"),
        (["flink", "submit"], "--go-on"),
        (["simulate", "history"], "--rows"),
        (["completion"], "zsh"),
        (["config"], "run"),
        (["config", "flink", "submit"], "--go-on"),
    ],
)
def test_completion_offers_flags_and_sub_commands(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete(words) == 0
    assert expected in capsys.readouterr().out.split()


@pytest.mark.embedded
def test_bash_completes_a_command_and_a_flag(tmp_path: Path) -> None:
    (tmp_path / "prestacop").write_text(f'#!/bin/sh\nexec {sys.executable} -m prestacop "$@"\n')
    (tmp_path / "prestacop").chmod(0o755)
    script = f"""
PATH={tmp_path}:$PATH
{SCRIPTS["bash"].replace("COMMANDS", " ".join(SUBCOMMANDS))}
COMP_WORDS=(prestacop recon) COMP_CWORD=1 && _prestacop && echo "${{COMPREPLY[@]}}"
COMP_WORDS=(prestacop reconcile --la) COMP_CWORD=2 && _prestacop && echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["reconcile", "--lake"]
