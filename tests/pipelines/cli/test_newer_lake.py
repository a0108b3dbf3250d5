"""Every command that opens a lake refuses one of a newer format, in one line and before it writes anything."""

from importlib import import_module
from pathlib import Path

import pytest

from lake.format import FILE, FORMAT
from prestacop.commands import SUBCOMMANDS
from prestacop.parsers import parser_of
from schemas.errors import LakeTooNew
from terminal.arguments import flags_of
from tests.endings import ending

REST: dict[tuple[str, ...], list[str]] = {
    ("run",): ["--messages", "file:m.jsonl"],
    ("run", "--dry-run"): ["--messages", "file:m.jsonl"],
    ("run", "--mode", "unbounded"): ["--messages", "kafka://127.0.0.1:9/drones", "--prism_location", "/bin/true"],
    ("analyze",): ["--report", "report.html"],
    ("fines",): ["--codes", "codes.csv"],
    ("fleet",): [],
    ("officers",): [],
    ("trace",): ["m1"],
    ("reconcile",): [],
    ("compact",): [],
    ("compact", "--vacuum"): [],
    ("replay",): ["--reason", "not_json"],
    ("undo",): ["unit", "--yes"],
    ("undo", "--list"): [],
    ("forget",): ["--plate", "AB1"],
    ("forget", "--list"): [],
    ("run-local",): ["--data", "data"],
    ("flink", "submit"): ["--messages", "file:m.jsonl"],
    ("spark", "submit"): ["--messages", "file:m.jsonl"],
}
"""The other arguments of each command, by its words."""
OTHERS = {"topics", "console", "live", "exporter"}
"""The first two open no lake: to one its --lake names a bucket, the other fetches pictures by their names. The third
checks the lake when its servers run, the fourth at each look, as it goes on."""


def test_the_table_has_all_commands_with_a_lake() -> None:
    with_lake = {name for name in SUBCOMMANDS if any("--lake" in flags for flags in flags_of(parser_of(name)).values())}
    assert with_lake == {words[0] for words in REST} | OTHERS


@pytest.mark.parametrize("words", REST, ids=" ".join)
def test_a_newer_lake_is_refused_in_one_line(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.jsonl").write_text("{\n")
    Path("codes.csv").write_text("CODE,DEFINITION,Manhattan  96th St. & below,All Other Areas\n21,CLEANING,65,45\n")
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / FILE).write_text(f'{{"format": {FORMAT + 1}}}')
    name, *nested = words
    module = import_module(SUBCOMMANDS[name].module)
    monkeypatch.setattr(module, "use_local_servers", lambda: None, raising=False)  # changes the environment
    code, printed = ending(capsys, lambda argv: module.main(list(argv)), *nested, *REST[words], "--lake", str(lake))
    assert (code, len(printed.splitlines())) == (LakeTooNew.exit_code, 1), printed
    assert printed.startswith(f"error: {lake}: a newer version of PrestaCop wrote this lake")
    assert [path.name for path in lake.iterdir()] == [FILE]
    assert {path.name for path in tmp_path.iterdir()} <= {"m.jsonl", "codes.csv", "lake"}
