"""Commas, tabs or semicolons between the fields: the same rows, told apart by the first line alone."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given

import transforms.history.parse
from pipelines.maintenance.replay import replay
from schemas.errors import InputUnusable
from schemas.history import COLUMNS_43, MANDATORY, Reason
from sources.files.history import HistoryCsv
from tests.sources.files.test_grid import HEADER, PLAIN, SIZES, Sizes, check, files, read, write
from tests.support import LOCAL, content, run_graph
from transforms.history.repair import Number

OTHERS = [b"\t", b";"]


def exchanged(data: bytes, separator: bytes) -> bytes:
    """The same with commas and separators exchanged, wherever they stand."""
    return data.translate(bytes.maketrans(b"," + separator, separator + b","))


@pytest.mark.parametrize("separator", OTHERS)
@given(files(), SIZES)
def test_rows_do_not_depend_on_the_separator_or_the_cells(separator: bytes, data: bytes, sizes: Sizes) -> None:
    other = exchanged(data, separator)
    check(other, sizes)
    with tempfile.TemporaryDirectory() as folder:
        expected = read(write(Path(folder), data), Sizes(1 << 20)).records
        found = read(write(Path(folder), other), Sizes(1 << 20)).records
    back = [
        tuple(
            exchanged(value, separator)
            if isinstance(value, bytes)
            else exchanged(value.encode(), separator).decode()
            if isinstance(value, str)
            else value
            for value in record
        )
        for record in found
    ]
    assert back == expected


@pytest.mark.parametrize("separator", OTHERS)
def test_rows_of_another_width_keep_their_bytes(tmp_path: Path, separator: bytes) -> None:
    rows = [b"1,2,3", b"1,2,3,4,5,6", b'"a,b",2,3,4,5,6', b'1,"x', PLAIN]
    data = exchanged(b"\n".join([HEADER, *rows]), separator)
    found = read(write(tmp_path, data), Sizes(1 << 20)).records
    assert [record[1] for record in found] == ["row_cut_short", "row_too_long", "row_too_long", "row_cut_short", 17]
    assert [record[2] for record in found[:4]] == [exchanged(row, separator) for row in rows[:4]]


@pytest.mark.parametrize("separator", OTHERS)
def test_a_field_of_commas_is_one_field(tmp_path: Path, separator: bytes) -> None:
    row = separator.join([b"17", b"07/06/2015", b"0143A", b"21", b"5,7,9 MAIN, ST"])
    data = b"\n".join([HEADER.replace(b",", separator), row])
    assert read(write(tmp_path, data), Sizes(1 << 20)).records[0][4] == "5,7,9 MAIN, ST"


def in_the_lake(tmp_path: Path, data: bytes, name: str) -> dict[str, list[tuple[object, ...]]]:
    """What readers see of a file in a lake of its own, without what says which file it was."""
    (tmp_path / name).write_bytes(data)
    run_graph(tmp_path / f"lake of {name}", tmp_path / name)
    seen = content(tmp_path / f"lake of {name}")
    del seen["ledger"], seen["dead_letters"]
    unit = "history-00000-"
    return {
        dataset: [tuple("" if str(v).startswith(unit) else v for v in row) for row in rows]
        for dataset, rows in seen.items()
    }


@pytest.mark.parametrize("separator", ["\t", ";"])
def test_real_rows_are_the_same_rows(tmp_path: Path, real_rows: Path, separator: str) -> None:
    text = io.StringIO(newline="")
    with real_rows.open(encoding="utf-8-sig", newline="") as file:
        csv.writer(text, delimiter=separator, lineterminator="\n").writerows(csv.reader(file))
    expected = in_the_lake(tmp_path, real_rows.read_bytes(), "a.csv")
    found = in_the_lake(tmp_path, text.getvalue().encode(), "b.tsv")
    assert len(expected["qualified"]) > 2000
    assert sorted(map(str, found["qualified"])) == sorted(map(str, expected["qualified"]))
    assert sorted(map(str, found["stats"])) == sorted(map(str, expected["stats"]))


@pytest.mark.embedded
def test_replay_uses_the_separator_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history, root = tmp_path / "a.tsv", str(tmp_path / "lake")
    history.write_bytes(exchanged(b"\n".join([HEADER, PLAIN, PLAIN.replace(b"MAIN ST", b'"A,B"')]), b"\t"))
    with monkeypatch.context() as patch:
        patch.setattr(transforms.history.parse, "repair_code", lambda _: Number(None, Reason.CODE_UNREADABLE))
        run_graph(root, history)
    assert len(content(root)["dead_letters"]) == 2
    assert replay(root, Reason.CODE_UNREADABLE, LOCAL)
    assert (len(content(root)["dead_letters"]), len(content(root)["qualified"])) == (0, 2)


def refusal(first_line: str) -> str:
    """What is said of a file that begins so."""
    with pytest.raises(InputUnusable) as error:
        HistoryCsv().header(io.BytesIO(first_line.encode() + b"\n"), "t.csv")
    return str(error.value)


def test_a_first_line_that_two_separators_make_the_names_is_refused() -> None:
    assert "by commas and by semicolons alike" in refusal(",;".join(MANDATORY))
    assert "by tabs and by semicolons alike" in refusal("\t;".join(MANDATORY))


@pytest.mark.parametrize("separator", "|^~:\x01")
def test_another_separator_is_named(separator: str) -> None:
    assert f"separated by {separator!a}; write it with commas, tabs or semicolons" in refusal(separator.join(MANDATORY))


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_the_names_may_hold_the_other_separators(separator: str) -> None:
    others = ",\t;".replace(separator, "")
    names = [*COLUMNS_43, f"what{others}else"]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerow(names)
    found = HistoryCsv().header(io.BytesIO(text.getvalue().encode()), "t.csv")
    assert (found.columns, found.separator) == (tuple(names), separator)


@pytest.mark.parametrize("separator", OTHERS)
@pytest.mark.parametrize("cell", [100, 1 << 20])
def test_rows_behind_a_header_of_another_separator_are_never_read_by_the_first(
    tmp_path: Path, separator: bytes, cell: int
) -> None:
    part = [PLAIN] * 6
    lines = [HEADER, *part, *(exchanged(line, separator) for line in [HEADER, *part]), HEADER, *part]
    found = read(write(tmp_path, b"\n".join(lines)), Sizes(cell))
    expected = [*[17] * 6, "header_line", *["columns_in_another_order"] * 6, "header_line", *[17] * 6]
    assert [record[1] for record in found.records] == expected
