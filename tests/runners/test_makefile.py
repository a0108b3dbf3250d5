"""What make's variables hold reaches the commands as it is; what is missing is named; clean takes no other folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.files.marks import Mark, make_folder
from tests.conftest import MAKES_OWN

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not on the PATH")

ROOT = Path(__file__).parents[2]
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Calls make in an empty work tree, with a Python that prints what it is to run and where S3 is."""
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(ROOT / "Makefile", tree)
    python = tmp_path / "python"
    python.write_text(f"""#!{sys.executable}
import json, os, sys
if sys.argv[3] == "services":
    print("export AWS_ENDPOINT_URL=http://here" if os.environ.get("S3_RUNS") else "")
    sys.exit(not os.environ.get("S3_RUNS"))
print(json.dumps([sys.argv[3:], os.environ.get("AWS_ENDPOINT_URL")]))
""")
    python.chmod(0o755)

    def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        line = ["make", "--old-file=.venv/.installed", f"PY={python}", f"PYTHON={python}", *arguments]
        known = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.run(line, cwd=tree, capture_output=True, text=True, check=False, env=known | environment)

    return make


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The module and arguments of the command that ran."""
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return list(json.loads(line)[0])


ODD = [
    "a b",
    "it's",
    '"q"',
    "$HOME",
    "$(touch gone)",
    "${x}",
    "$(shell touch gone)",
    "`touch gone`",
    "a;touch gone",
    "#x",
]
ODD += ["a\\", "*", "~", "&& touch gone", "%s", "$$", "-x", "ü"]


@pytest.mark.embedded
@pytest.mark.parametrize("text", [" ".join(ODD), *ODD])
def test_what_a_variable_holds_reaches_the_command_as_it_is(make: Make, tmp_path: Path, text: str) -> None:
    variables = {name: text + name for name in ("DATA", "LAKE", "REPORT", "HISTORY", "MESSAGES")}
    for done in (make("run-local", *(f"{k}={v}" for k, v in variables.items())), make("run-local", **variables)):
        assert ran(done) == ["run-local", *(f"--{name.lower()}={value}" for name, value in variables.items())]
    assert not (tmp_path / "tree/gone").exists()


@pytest.mark.embedded
def test_the_variables_of_other_targets_do_so_too(make: Make, tmp_path: Path) -> None:
    text = " ".join(ODD)
    lake = f"--lake={text}"
    for target, name, runs in (
        ("trace", "ID", ["trace", lake, "--", text]),
        ("fines", "CODES", ["fines", lake, f"--codes={text}"]),
        ("analyze", "CODES", ["analyze", lake, "--report=data/report.html", f"--codes={text}"]),
        ("replay", "REASON", ["replay", lake, f"--reason={text}"]),
        ("reconcile", "ID", ["reconcile", f"--lake={text}"]),
        ("compact", "ID", ["compact", lake]),
        ("undo", "UNIT", ["undo", lake, "--", text]),
        ("follow-spark", "EVERY", ["spark", "submit", f"--every={text}"]),
    ):
        assert ran(make(target, f"LAKE={text}", f"{name}={text}")) == runs
    assert ran(make("console", "ARGS=--alerts x", f"DATA={text}")) == [
        "console", f"--data={text}/console", "--alerts", "x",
    ]  # fmt: skip
    assert f"LAKE={text}, " in make("help", f"LAKE={text}").stdout
    assert not (tmp_path / "tree/gone").exists()


def test_no_recipe_lets_make_put_a_variable_into_a_command() -> None:
    text = (ROOT / "Makefile").read_text()
    recipes = [line for line in text.splitlines() if line.startswith("\t")]
    given = re.search(r"(?m)^GIVEN := (.*)$", text)[1].split()  # type: ignore[index]
    assert set(given) < set(MAKES_OWN.split())
    for name in [*given, "YES"]:
        plain = [line for line in recipes if f"$({name})" in line.replace(f"$(if $({name}),", "")]
        assert plain == []


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("target", "name"), [("trace", "ID"), ("fines", "CODES"), ("replay", "REASON"), ("undo", "UNIT")]
)
def test_a_variable_that_is_missing_is_wrong_usage(make: Make, target: str, name: str) -> None:
    for given in ([], [f"{name}="], [f"{name}= "]):
        done = make(target, *given)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: say which: make {target} {name}=..." in done.stderr
    assert ran(make(target, "ARGS=--help"))[-1] == "--help"


TARGETS = ["run-local", "analyze", "fines", "reconcile", "compact", "replay", "trace", "undo"]


@pytest.mark.embedded
@pytest.mark.parametrize("target", TARGETS)
def test_a_lake_on_s3_uses_the_local_server_unless_the_environment_names_another(make: Make, target: str) -> None:
    given = (target, "CODES=c", "REASON=r", "ID=i", "UNIT=u")

    def where(*arguments: str, **environment: str) -> str | None:
        done = make(*given, *arguments, **environment)
        assert ("the server that runs here" in done.stderr) == (json.loads(done.stdout)[1] == "http://here")
        return json.loads(done.stdout)[1]  # type: ignore[no-any-return]

    assert where("LAKE=s3://prestacop/lake", S3_RUNS="1") == "http://here"
    assert where("LAKE=s3://prestacop/lake", S3_RUNS="1", AWS_ENDPOINT_URL="http://own") == "http://own"
    assert where("LAKE=s3://prestacop/lake", S3_RUNS="1", AWS_PROFILE="own") is None
    assert where("LAKE=s3://prestacop/lake") is None
    assert where(S3_RUNS="1") is None


@pytest.mark.embedded
def test_clean_takes_a_folder_from_the_command_line_only(make: Make) -> None:
    done = make("clean", DATA="/some/folder", YES="1")
    assert ran(done) == ["clean"]
    assert "DATA of the environment is not meant: make clean DATA=DIR" in done.stderr
    assert ran(make("distclean", DATA="/some/folder", YES="1")) == ["clean", "--all"]
    assert ran(make("-e", "clean", DATA="/some/folder")) == ["clean"]
    assert ran(make("clean", "DATA=a b; $(x) '")) == ["clean", "--data=a b; $(x) '"]
    assert ran(make("clean", "DATA=")) == ["clean", "--data="]
    assert ran(make("distclean", "YES=1", "DATA=x")) == ["clean", "--data=x", "--all", "--yes"]


STARTED = ("pipelines/cli/__init__.py", "pipelines/cli/beam_imports.py")
"""What every command imports; it imports nothing of Beam."""


@pytest.mark.embedded
def test_make_clean_needs_no_environment_and_leaves_the_folder_of_another(tmp_path: Path) -> None:
    tree, precious = tmp_path / "tree", tmp_path / "some folder"
    (precious / "lake").mkdir(parents=True)
    for name in ("runners", "pipelines/cli"):
        (tree / name).mkdir(parents=True)
    for name in ("prestacop", "schemas", "terminal"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("Makefile", "runners/__init__.py", "runners/clean.py", "pipelines/__init__.py", *STARTED):
        shutil.copy(ROOT / name, tree / name)
    make_folder(tree / "data/input", Mark.REBUILT)
    line = ["make", "clean", f"PYTHON={sys.executable} -S -E"]
    for variables, code in (({"DATA": str(precious)}, 0), ({}, 0)):
        done = subprocess.run(line, cwd=tree, capture_output=True, text=True, check=False, env=os.environ | variables)
        assert done.returncode == code, done.stderr
    done = subprocess.run([*line, f"DATA={precious}"], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (precious / "lake").exists()
    assert not (tree / "data/input").exists()
