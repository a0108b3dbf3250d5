"""The views of docs/sql in other engines: what they are asked, and what the lake's own reader says to that."""

from pathlib import Path

from lake import lake
from pipelines.maintenance.compact import compact
from tests.support import LOCAL, make_history, make_messages, run_graph

FOLDER = Path(__file__).parents[2] / "docs" / "sql"
_MESSAGES = "count(DISTINCT message_id), sum(record)"
_VIOLATIONS = "count(DISTINCT event_time), sum(violation_code)"
_VIEWS = {
    "positions": ("positions_of_all_units", _MESSAGES),
    "positions_once": ("positions", _MESSAGES),
    "qualified": ("qualified_of_all_units", _VIOLATIONS),
    "qualified_once": ("qualified", _VIOLATIONS),
    "unqualified": ("unqualified_of_all_units", _MESSAGES),
    "unqualified_once": ("unqualified", _MESSAGES),
    "dead_letters": ("dead_letters_of_all_units", "count(DISTINCT reason), sum(record)"),
    "stats": ("stats_of_all_units", "count(DISTINCT window_start), sum(n)"),
    "units": ("ledger", "sum(rows_in), sum(counted)"),
}
"""By view, the same of the lake's reader, and what is asked of both."""
QUERY = " UNION ALL ".join(f"SELECT '{view}', count(*), {figures} FROM {view}" for view, (_, figures) in _VIEWS.items())
"""Four columns; the rows in any order."""


def script(*names: str) -> str:
    """Files of the folder, one after another, without comments."""
    lines = [line for name in names for line in (FOLDER / name).read_text(encoding="utf-8").splitlines(keepends=True)]
    return "".join(line for line in lines if not line.startswith("--"))


def fill(root: str, folder: Path) -> None:
    """A lake with history, messages, dead letters, a compaction, and after it messages that it has already."""
    history = make_history(folder / "tickets.csv", 3_000)
    for seed in ("1", "2"):
        dirt = ("--seed", seed, "--corrupt", "0.02")
        run_graph(root, history, make_messages(folder / f"{seed}.jsonl", 20, 30, *dirt))
    assert compact(root, 1 << 20, LOCAL)
    again = folder / "again.jsonl"
    lines = (folder / "1.jsonl").read_bytes().splitlines(keepends=True)
    claims = [line.replace(b'"latitude":40', b'"latitude":41') for line in lines[300:400]]  # other content
    assert claims != lines[300:400]
    again.write_bytes(b"".join([*lines[:300], *claims]))
    run_graph(root, None, again)


def expected(root: str, first_month: str = "", last_month: str = "9") -> set[tuple[str, ...]]:
    """The answer to QUERY, as text, where the engine sees these months."""
    seen = f"WHERE month BETWEEN '{first_month}' AND '{last_month}'"
    own = (
        f"SELECT '{view}', count(*), {figures} FROM {name} {seen if figures in (_MESSAGES, _VIOLATIONS) else ''}"
        for view, (name, figures) in _VIEWS.items()
    )
    rows = [tuple(map(str, row.values())) for row in lake(root).sql(" UNION ALL ".join(own)).to_pylist()]
    found = {name: figures for name, *figures in rows}
    assert found["positions"] != found["positions_once"]
    return set(rows)
