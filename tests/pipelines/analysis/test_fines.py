"""Dollars are those of the city's table, and what the data does not say is told."""

import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from lake import lake
from pipelines.analysis.command import answers
from pipelines.analysis.fines import ABOVE, BELOW, Rate, fines, fines_by_window, read_rates
from pipelines.analysis.html_report import render
from pipelines.analysis.text_report import lines
from schemas.errors import InputUnusable
from schemas.history import COLUMNS_43
from tests.support import make_messages, run_graph

TABLE = """CODE,DEFINITION,Manhattan  96th St. & below,All Other Areas
14,NO STANDING,115,100
21,STREET CLEANING,65,45
36,SPEEDING,50,50
"""
RATES = {14: Rate(115, 100), 21: Rate(65, 45), 36: Rate(50, 50)}
TICKETS = [  # code, county, precinct; dollars, and more if they were below 96th Street
    (14, "NY", "19", 115, 0), (14, "MAN", "23", 100, 0), (14, "K", "19", 100, 0), (14, "NY", "0", 100, 15),
    (14, "NY", "24", 100, 15), (14, "NY", "", 100, 15), (14, "", "14", 115, 0), (14, "", "75", 100, 0),
    (14, "", "", 100, 15), (21, "NY", "1", 65, 0), (36, "NY", "0", 50, 0), (0, "NY", "1", 0, 0), (98, "K", "75", 0, 0),
]  # fmt: skip


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    """The city's table."""
    (tmp_path / "codes.csv").write_text(TABLE)
    return tmp_path / "codes.csv"


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A lake of the tickets."""
    rows = [",".join(COLUMNS_43)]
    for number, (code, county, precinct, *_) in enumerate(TICKETS):
        values = {
            "Summons Number": str(1_000_000_000 + number), "Issue Date": "07/06/2015", "Violation Time": "0143A",
            "Violation Code": str(code), "Violation County": county, "Violation Precinct": precinct,
        }  # fmt: skip
        rows.append(",".join(values.get(name, "") for name in COLUMNS_43))
    (tmp_path / "h.csv").write_text("\n".join(rows) + "\n")
    run_graph(tmp_path / "lake", tmp_path / "h.csv")
    return str(tmp_path / "lake")


def test_the_rate_is_that_of_county_and_precinct(root: str) -> None:
    found = fines(lake(root), RATES)
    assert found.dollars == sum(dollars for *_, dollars, _ in TICKETS)
    assert found.unsure_more == sum(more for *_, more in TICKETS)
    assert found.codes[14].unsure == 4
    assert found.codes[36].unsure == 0  # both rates are the same
    assert found.codes[98].dollars is None
    assert 0 not in found.codes


def test_windows_sum_up_whatever_their_size(root: str, tmp_path: Path) -> None:
    run_graph(root, messages=make_messages(tmp_path / "m.jsonl", 20, 100))
    sums = {sum(d or 0 for d in fines_by_window(lake(root), RATES, size)["dollars"].to_pylist())
            for size in (60, 3600, 86_400)}  # fmt: skip
    assert sums == {fines(lake(root), RATES).dollars}
    hours = fines_by_window(lake(root), RATES, 3600).to_pylist()
    assert all(row["window_start"].minute == row["window_start"].second == 0 for row in hours)


@pytest.mark.embedded
def test_the_report_and_the_text_have_the_dollars_or_say_what_to_do(root: str, codes: Path, tmp_path: Path) -> None:
    found = answers(root, PipelineOptions([]))
    assert "What does it cost?" not in render(found)
    assert any("--codes FILE" in line for line in lines(found))
    line = [sys.executable, "-m", "prestacop", "analyze", "--lake", root, "--quiet", "--codes", str(codes)]
    line += ["--report", str(tmp_path / "report.html")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "$1,045 of fines; code 14" in done.stdout
    assert "$1,045 of fines; code 14" in (tmp_path / "report.html").read_text()


@pytest.mark.embedded
def test_the_command_prints_csv(root: str, codes: Path) -> None:
    line = [sys.executable, "-m", "prestacop", "fines", "--lake", root, "--codes", str(codes)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == [
        "window_start,violation_code,violations,dollars,unsure,unsure_more",
        "2015-07-06T00:00:00+00:00,14,9,930,4,60",
    ]


def test_the_citys_table_is_read_and_another_file_is_an_error(codes: Path, tmp_path: Path) -> None:
    assert read_rates(codes) == RATES
    wrong = tmp_path / "wrong.csv"
    for text, expected in (
        ("a,b\n1,2\n", "no columns CODE"),
        (TABLE.replace("65", "dear"), "line 3"),
        ("", "no columns"),
    ):
        wrong.write_text(text)
        with pytest.raises(InputUnusable, match=expected):
            read_rates(wrong)
    with pytest.raises(InputUnusable, match="ncbg-6agr"):
        read_rates(tmp_path / "nothing.csv")


def test_no_precinct_is_on_both_sides() -> None:
    assert not set(BELOW) & set(ABOVE)
