"""Every query of every page runs without an error, also on a lake without rows of some dataset."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from lake import lake
from lake.storage import storage
from tests.support import make_history, make_messages, run_graph

ROOT = Path(__file__).parents[2]
OF_ENGINES = ROOT / "docs" / "tables.md"
"""Its examples are in the languages of engines; tests of their own run them."""
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")} - {OF_ENGINES})
FENCED = re.compile(r"```(sql|python)\n(.*?)```", re.DOTALL)
QUERIES = [
    (f"{page.name}: {text}", language, text)
    for page in PAGES
    for language, text in FENCED.findall(page.read_text(encoding="utf-8"))
]
LAKES = ("run-local", "history", "messages", "dead letters", "no unit")


@pytest.fixture(scope="module", params=LAKES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``data/lake`` is a lake of this kind."""
    folder = tmp_path_factory.mktemp("queries")
    data, root = folder / "data", folder / "data" / "lake"
    data.mkdir()
    if request.param == "run-local":
        small = ["--rows", "2000", "--drones", "5", "--seconds", "20", "--data", str(data), "--quiet"]
        subprocess.run([sys.executable, "-m", "prestacop", "run-local", *small], check=True, capture_output=True)
    elif request.param == "history":
        run_graph(root, make_history(folder / "h.csv", 500, "--dirt", "0"))
    elif request.param == "messages":
        run_graph(root, None, make_messages(folder / "m.jsonl", 3, 5, "--violation-share", "0"))
    elif request.param == "dead letters":
        (folder / "bad.jsonl").write_text("no message\n")
        run_graph(root, None, folder / "bad.jsonl")
    return folder


def at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to the folder, and drop the cached storages: a relative path means another lake there."""
    monkeypatch.chdir(folder)
    storage.cache_clear()


@pytest.mark.embedded
def test_all_queries_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(folder, monkeypatch)
    failed = {}
    with lake("data/lake").connect() as connection:
        for name, language, text in QUERIES:
            try:
                if language == "python":
                    exec(text, {"LAKE": "data/lake"})
                else:
                    connection.execute(text).fetchall()
            except Exception as error:  # noqa: BLE001  # all failures are reported
                failed[name] = error
    assert failed == {}


@pytest.mark.embedded
def test_the_notebook_answers_or_says_that_there_is_no_lake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(folder, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["questions.py"])
    outputs, _ = runpy.run_path(str(ROOT / "docs" / "notebook" / "questions.py"))["app"].run()
    assert outputs
    text = "".join(str(getattr(output, "text", output)) for output in outputs)
    assert ("no lake" in text) == (not (folder / "data" / "lake").exists())


def test_queries_were_found() -> None:
    assert len(QUERIES) > 10
