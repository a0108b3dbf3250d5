"""The notebook runs over a lake, and its answers are those of the analysis."""

import runpy
import sys
from pathlib import Path

import pytest

from pipelines.analysis.command import answers
from tests.support import LOCAL, make_history, make_messages, run_graph

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook" / "questions.py"


@pytest.mark.embedded
def test_its_answers_are_those_of_the_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "lake")
    messages = make_messages(tmp_path / "m.jsonl", 20, 100, "--unqualified-share", "0.1")
    run_graph(root, make_history(tmp_path / "h.csv", 3_000), messages)
    monkeypatch.setattr(sys, "argv", ["questions.py", "--lake", root])
    outputs, shown = runpy.run_path(str(NOTEBOOK))["app"].run()
    found = answers(root, LOCAL)
    assert dict(shown["parts"].rows()) == {name: share.n for name, share in found.parts_of_day.items()}
    assert {name: n for name, n, _ in shown["days"].rows()} == {
        "working days": found.working_days.n, "weekends": found.weekends.n
    }  # fmt: skip
    assert dict(shown["quarters"].rows()) == {name: share.n for name, share in found.quarters.items() if share.n}
    assert dict(shown["codes"].rows()) == {code: share.n for code, share in found.codes.items()}
    assert {source: (n, of) for source, of, n in shown["officers"].rows()} == dict(found.needing_officer)
    assert sum(shown["ledger"]["units"]) == 2
    pages = [output._repr_html_() for output in outputs if hasattr(output, "_repr_html_")]
    assert sum("vega" in page for page in pages) == 4
