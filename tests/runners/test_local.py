"""make run-local: input of its own, the lake, the answers, the report; a second run adds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

pytestmark = pytest.mark.embedded


def run_local(data: Path) -> str:
    """Run it small."""
    small = ["--rows", "6000", "--drones", "20", "--seconds", "60"]
    line = [sys.executable, "-m", "prestacop", "run-local", "--data", str(data), *small]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "\r" not in done.stderr  # bars are for terminals
    return done.stdout


def test_it_makes_a_lake_and_a_report_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    first = run_local(tmp_path)
    assert "6,000" in first
    assert f"lake    {tmp_path / 'lake'}" in first
    assert (tmp_path / "report.html").stat().st_size > 10_000
    ledger = sorted((tmp_path / "lake" / "ledger").rglob("*.parquet"))
    table = DeltaTable(tmp_path / "lake" / "qualified")
    assert table.to_pyarrow_dataset().count_rows()
    again = run_local(tmp_path)
    assert DeltaTable(tmp_path / "lake" / "qualified").version() == table.version()
    assert "nothing new" in again
    assert sorted((tmp_path / "lake" / "ledger").rglob("*.parquet")) == ledger
    answers = first[first.index("violations, New York time") :].split("\nlake ")[0]
    assert answers in again
    assert "report.html, unchanged since 20" in again


def test_a_second_run_computes_nothing_unless_input_or_page_changed(tmp_path: Path) -> None:
    report, kept = tmp_path / "report.html", tmp_path / ".report.html.answers"
    run_local(tmp_path)
    before, page = kept.stat(), report.read_bytes()
    assert "unchanged since" in run_local(tmp_path)
    assert (kept.stat().st_ino, report.read_bytes()) == (before.st_ino, page)
    history = next((tmp_path / "input").glob("*.csv"))
    with history.open("ab") as file:
        file.write(history.read_bytes().splitlines(keepends=True)[1])
    grown = run_local(tmp_path)
    assert "6,001" in grown
    assert "unchanged" not in grown
    assert report.read_bytes() != page
    report.write_text("not the page")
    assert "unchanged" not in run_local(tmp_path)
    assert report.stat().st_size > 10_000


def test_the_doctor_finds_what_the_tests_run_on() -> None:
    done = subprocess.run([sys.executable, "-m", "prestacop", "doctor"], capture_output=True, text=True, check=False)
    assert "apache-beam" in done.stdout
    assert done.returncode == (0 if "run-local can run here" in done.stdout else 4)
