"""The notebook runs over a lake, and its answers are those of the analysis."""

import runpy
import sys
from pathlib import Path

import pytest

from pipelines.analysis.command import answers
from tests.support import LOCAL, make_history, make_messages, run_graph, together

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook" / "questions.py"


@pytest.mark.embedded
def test_its_answers_are_those_of_the_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "lake")
    messages = make_messages(tmp_path / "m.jsonl", 20, 100, "--unqualified-share", "0.1")
    run_graph(root, make_history(tmp_path / "h.csv", 3_000), messages)
    monkeypatch.setattr(sys, "argv", ["questions.py", "--lake", root])
    outputs, shown = runpy.run_path(str(NOTEBOOK))["app"].run()
    found = answers(root, LOCAL)
    assert {name: n for name, n in shown["parts"].rows() if n} == together(v.parts_of_day for v in found.sources)
    days = ({"working days": v.working_days, "weekends": v.weekends} for v in found.sources)
    assert {name: n for name, n, _ in shown["days"].rows()} == together(days)
    assert dict(shown["quarters"].rows()) == together(v.quarters for v in found.sources)
    assert dict(shown["codes"].rows()) == together(v.ranked_codes for v in found.sources)
    assert {source: (n, of) for source, of, n in shown["officers"].rows()} == dict(found.needing_officer)
    assert sum(shown["ledger"]["units"]) == 2
    pages = [output._repr_html_() for output in outputs if hasattr(output, "_repr_html_")]
    assert sum("vega" in page for page in pages) == 4
