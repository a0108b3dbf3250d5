"""The simulated ticket CSV: its bytes, its shares, its dirt, and the truth, against an independent reader."""

import csv
import gzip
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from apps.simulator.command import main
from apps.simulator.tickets.dirt import QUOTE_DISTANCE, RATES, STRUCTURAL
from apps.simulator.tickets.history import LAYOUTS, History, write_history
from schemas.history import BLANK_PLATES, COLUMNS_51, COUNTY_ALIASES, Reason, Repair
from tests.support import wait_until

NEW_YORK = ZoneInfo("America/New_York")
ROWS = 20_000
REPAIRS = [value for name, value in vars(Repair).items() if name.isupper()]
OF_OTHER_PROGRAMS = {
    Repair.PLACEHOLDER,
    Repair.POINT_ZERO,
    Repair.NUMBER_SPELLING,
    Repair.TIME_SPELLING,
    Repair.DATE_MIDNIGHT,
}
"""Repairs of what the city does not write, but programs through which a file of its went."""
REASONS = {value for name, value in vars(Reason).items() if name.isupper()}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A file in which a tenth of the rows is dirty."""
    history = History(rows=ROWS, seed=3, dirt=30, output=tmp_path_factory.mktemp("dirty") / "tickets.csv")
    write_history(history, quiet=True)
    return history


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> History:
    history = History(rows=50_000, seed=4, dirt=0, output=tmp_path_factory.mktemp("clean") / "tickets.csv")
    write_history(history, quiet=True)
    return history


def truth_of(history: History) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(history.truth).to_pylist()
    return rows


def records(history: History) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Each record's fields and truth, the record cut out with the help of the truth and read by itself."""
    lines = iter(history.output.read_bytes().split(b"\n")[1:])
    for truth in truth_of(history):
        line = next(lines)
        if truth["dirt"] == "quoted_newline":
            line += b"\n" + next(lines)
        text = line.decode("latin-1" if truth["dirt"] == "encoding_latin1" else "utf-8")
        if Repair.STRAY_QUOTE in truth["repairs"]:
            yield text.split(","), truth
        else:
            yield next(csv.reader([text], strict=True)), truth
    assert list(lines) == [b""]


# A slow reader of one row, written from the contract alone.


def read_time(text: str) -> tuple[int, list[str]] | str:
    """Minutes and repairs, or a reason."""
    if not text:
        return Reason.TIME_MISSING
    if re.fullmatch(r" \d\d\d[AP]|\d \d\d[AP]", text):
        text, repairs = "0" + text.replace(" ", ""), [Repair.TIME_BLANK_HOUR]
    elif re.fullmatch(r"\d\d\d[AP]", text):
        text, repairs = "0" + text, [Repair.TIME_LOST_ZERO]
    elif re.fullmatch(r"\d\d\d\d[AP]", text):
        repairs = []
    elif re.fullmatch(r"\d\d\d\d", text):
        repairs = [Repair.TIME_NO_SUFFIX]
    elif re.fullmatch(r"\d\d\d\d[AP]", text.strip().upper()):
        text, repairs = text.strip().upper(), [Repair.TIME_TRIMMED]
    else:
        return Reason.TIME_UNREADABLE
    hour, minute, half = int(text[:2]), int(text[2:4]), text[4:]
    if hour > 23 or minute > 59:
        return Reason.TIME_OUT_OF_RANGE
    if hour > 12 and half == "A":
        return Reason.TIME_CONTRADICTORY
    if hour > 12 and half == "P":
        repairs = [*repairs, Repair.TIME_24H]
    elif hour == 0 and half == "P":
        hour, repairs = 12, [*repairs, Repair.TIME_ZERO_HOUR_PM]
    elif hour == 12 and half == "A":
        hour = 0
    elif hour < 12 and half == "P":
        hour += 12
    return 60 * hour + minute, repairs


def read_date(text: str) -> tuple[date, list[str]] | str:
    if not text:
        return Reason.DATE_MISSING
    if iso := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)(T00:00:00\.000)?", text):
        year, month, day = map(int, iso.groups()[:3])
        repairs = [Repair.DATE_ISO]
    elif american := re.fullmatch(r"(\d\d?)/(\d\d?)/(\d{4}|\d\d)", text):
        month, day, year = map(int, american.groups())
        repairs = [] if len(text) == 10 else [Repair.DATE_UNPADDED]
        if year < 100:
            year, repairs = 2000 + year, [Repair.DATE_TWO_DIGIT_YEAR]
    else:
        return Reason.DATE_UNREADABLE
    try:
        return date(year, month, day), repairs
    except ValueError:
        return Reason.DATE_OUT_OF_RANGE


def read_county(text: str) -> tuple[str | None, list[str]]:
    if text in ("", *COUNTY_ALIASES):
        return text or None, []
    for county, aliases in COUNTY_ALIASES.items():
        if text.strip().upper() in aliases:
            return county, [Repair.TRIMMED] * (text != text.strip()) + [Repair.COUNTY_ALIAS]
    return text, [Repair.COUNTY_UNKNOWN]


def read_plate(text: str) -> tuple[str | None, list[str]]:
    if text in BLANK_PLATES:
        return None, [Repair.PLATE_BLANK]
    return text or None, [] if re.fullmatch(r"[A-Za-z0-9 -]*", text) else [Repair.PLATE_ODD]


def to_utc(day: date, minute: int) -> tuple[datetime, list[str]]:
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60)
    if (day, local.hour) == (date(2015, 3, 8), 2):
        return local.replace(tzinfo=UTC) + timedelta(hours=5), [Repair.DST_GAP]
    twice = (day, local.hour) == (date(2014, 11, 2), 1)
    return local.replace(tzinfo=NEW_YORK).astimezone(UTC), [Repair.DST_TWICE] if twice else []


def read_code(text: str) -> int | str:
    if not text.isdigit():
        return Reason.CODE_UNREADABLE if text else Reason.CODE_MISSING
    return int(text) if int(text) <= 99 else Reason.CODE_OUT_OF_RANGE


def read_row(fields: list[str]) -> dict[str, Any]:
    nothing = dict.fromkeys(("event_time", "violation_code", "county", "plate_id", "street"))
    dead: dict[str, Any] = {"branch": "dead_letters", **nothing, "repairs": []}
    if len(fields) < len(COLUMNS_51):
        return {**dead, "summons_number": int(fields[0]), "reason": Reason.CUT_SHORT}
    if len(fields) > len(COLUMNS_51):
        return {**dead, "summons_number": int(fields[0]), "reason": Reason.TOO_LONG}
    row = dict(zip(COLUMNS_51, fields, strict=True))
    summons = row["Summons Number"]
    if not summons.isdigit():
        reason = Reason.SUMMONS_UNREADABLE if summons else Reason.SUMMONS_MISSING
        return {**dead, "summons_number": None, "reason": reason}
    dead["summons_number"] = int(summons)
    code, day, minute = read_code(row["Violation Code"]), read_date(row["Issue Date"]), read_time(row["Violation Time"])
    if isinstance(code, str):
        return {**dead, "reason": code}
    if isinstance(day, str):
        return {**dead, "reason": day}
    if isinstance(minute, str):
        return {**dead, "reason": minute}
    county, county_repairs = read_county(row["Violation County"])
    plate, plate_repairs = read_plate(row["Plate ID"])
    event_time, dst_repairs = to_utc(day[0], minute[0])
    numbers = [row["Vehicle Year"], row["Violation Precinct"]]
    number_repairs = [] if all(text.isdigit() or not text for text in numbers) else [Repair.NUMBER_UNREADABLE]
    return {
        "summons_number": int(summons),
        "branch": "qualified" if code else "unqualified",
        "reason": None,
        "event_time": event_time,
        "violation_code": code,
        "county": county,
        "plate_id": plate,
        "street": row["Street Name"] or None,
        "repairs": [*minute[1], *day[1], *dst_repairs, *county_repairs, *plate_repairs, *number_repairs],
    }


def test_an_independent_reader_agrees_with_the_truth(dirty: History) -> None:
    seen = Counter[str]()
    for number, (fields, truth) in enumerate(records(dirty)):
        expected = read_row(fields)
        expected["repairs"] += [
            repair for repair in truth["repairs"] if repair in (Repair.STRAY_QUOTE, Repair.ENCODING)
        ]
        expected["repairs"].sort(key=REPAIRS.index)
        dirt = truth.pop("dirt")
        assert truth == {"record": number, **expected}, (dirt, fields)
        seen[dirt] += 1
    assert set(seen) == {None, *RATES}


def test_the_clock_change(dirty: History) -> None:
    rows = truth_of(dirty)
    gap = {row["event_time"].replace(minute=0) for row in rows if Repair.DST_GAP in row["repairs"]}
    twice = {row["event_time"].replace(minute=0) for row in rows if Repair.DST_TWICE in row["repairs"]}
    assert gap == {datetime(2015, 3, 8, 7, tzinfo=UTC)}
    assert twice == {datetime(2014, 11, 2, 5, tzinfo=UTC)}


def test_every_kind_of_dirt_is_in_a_file_of_five_thousand(tmp_path: Path) -> None:
    history = History(rows=5_000, seed=5, dirt=0.001, output=tmp_path / "tickets.csv")
    write_history(history, quiet=True)
    rows = truth_of(history)
    assert {row["dirt"] for row in rows} == {None, *RATES}
    assert {repair for row in rows for repair in row["repairs"]} == set(REPAIRS) - OF_OTHER_PROGRAMS
    # No generated row is beyond the reader's limit.
    assert {row["reason"] for row in rows} == {None, *REASONS} - {Reason.HEADER_LINE, Reason.OTHER_COLUMNS}


def test_no_row_makes_its_neighbour_ambiguous(dirty: History) -> None:
    rows = truth_of(dirty)
    structural = [row["record"] for row in rows if row["dirt"] in STRUCTURAL]
    assert all(after - before > 1 for before, after in pairwise(structural))
    stray = [row["record"] for row in rows if Repair.STRAY_QUOTE in row["repairs"]]
    quoted = [row["record"] for row in rows if str(row["dirt"]).startswith("quoted")]
    assert stray
    assert quoted
    assert not [(at, after) for at in stray for after in quoted if 0 < after - at <= QUOTE_DISTANCE]


def test_summons_numbers_are_unique_but_for_the_intended_duplicates(dirty: History) -> None:
    rows = [row for row in truth_of(dirty) if row["summons_number"] is not None]
    times = Counter(row["summons_number"] for row in rows)
    twice = [row["summons_number"] for row in rows if row["dirt"] == "summons_twice"]
    assert twice
    assert {number for number, count in times.items() if count > 1} == set(twice)
    assert all(len(str(number)) == 10 for number in times)


def test_a_clean_file_is_clean(clean: History) -> None:
    with clean.output.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines, strict=True))
    assert rows[0] == list(COLUMNS_51)
    assert len(rows) == 1 + clean.rows
    assert {len(row) for row in rows} == {len(COLUMNS_51)}
    truth = truth_of(clean)
    assert {(row["branch"], row["reason"], row["dirt"]) for row in truth} == {("qualified", None, None)}
    assert {repair for row in truth for repair in row["repairs"]} <= {Repair.DST_GAP, Repair.DST_TWICE}


def test_the_shares_are_those_of_the_city(clean: History) -> None:
    with clean.output.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    truth = truth_of(clean)
    local = [row["event_time"].astimezone(NEW_YORK) for row in truth]

    def share(chosen: Iterator[bool]) -> float:
        return sum(chosen) / clean.rows

    total = 5_468_700 + 5_301_276 + 1_030_024
    assert share(6 <= at.hour < 13 for at in local) == pytest.approx(5_468_700 / total, abs=0.01)
    assert share(13 <= at.hour < 20 for at in local) == pytest.approx(5_301_276 / total, abs=0.01)
    assert share(at.weekday() >= 5 for at in local) == pytest.approx(1_761_317 / 11_800_000, abs=0.01)
    quarters = Counter((at.month + 2) // 3 for at in local)
    assert [quarter for quarter, _ in quarters.most_common()] == [2, 1, 3, 4]
    codes = Counter(row["violation_code"] for row in truth)
    assert [code for code, _ in codes.most_common(5)] == [21, 38, 14, 36, 37]
    assert codes[21] / clean.rows == pytest.approx(1_629_440 / 11_800_000, abs=0.01)
    assert share(row["county"] is None for row in truth) == pytest.approx(0.03, abs=0.005)
    assert share(row["House Number"] == "" for row in rows) == pytest.approx(0.3, abs=0.02)
    assert share(row["Vehicle Year"] == "0" for row in rows) == pytest.approx(0.25, abs=0.02)
    streets = Counter(row["street"] for row in truth)
    assert 10_000 < len(streets) < 110_543
    assert streets.most_common(1)[0][1] / clean.rows == pytest.approx(0.02, abs=0.005)
    assert clean.output.stat().st_size / clean.rows == pytest.approx(240, abs=15)
    assert {row["Violation Time"][:2] for row in rows if row["Violation Time"][4] == "A"} >= {"00", "12"}


@pytest.mark.parametrize("columns", sorted(LAYOUTS))
def test_layouts(columns: int, tmp_path: Path) -> None:
    history = History(rows=300, seed=6, dirt=0, columns=columns, output=tmp_path / "tickets.csv")
    write_history(history, quiet=True)
    with history.output.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == list(LAYOUTS[columns])
    assert {len(row) for row in rows} == {columns}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    def made(name: str, seed: int) -> tuple[bytes, bytes]:
        # More rows than one chunk, so that threads race.
        history = History(rows=120_000, seed=seed, output=tmp_path / name)
        write_history(history, quiet=True)
        return history.output.read_bytes(), history.truth.read_bytes()

    first = made("a.csv", 1)
    assert made("b.csv", 1) == first
    other = made("c.csv", 2)
    assert other[0] != first[0]
    assert other[1] != first[1]


def test_bom_and_line_end_options_do_not_change_the_rows(tmp_path: Path) -> None:
    plain, framed = tmp_path / "plain.csv", tmp_path / "framed.csv.gz"
    assert main(["history", "--rows", "400", "--seed", "7", "--quiet", "--output", str(plain)]) == 0
    switches = ["--crlf", "--bom", "--no-final-newline"]
    assert main(["history", "--rows", "400", "--seed", "7", "--quiet", "--output", str(framed), *switches]) == 0
    expected = b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    assert gzip.decompress(framed.read_bytes()) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "framed.csv.gz",
        "framed.csv.gz.truth.parquet",
        "plain.csv",
        "plain.csv.truth.parquet",
    ]


def test_an_empty_file_has_its_header(tmp_path: Path) -> None:
    output = tmp_path / "tickets.csv"
    assert main(["history", "--rows", "0", "--quiet", "--output", str(output)]) == 0
    assert output.read_text() == ",".join(COLUMNS_51) + "\n"


@pytest.mark.parametrize("wrong", [["--columns", "42"], ["--dirt", "-1"], ["--dirt", "1000"], ["--rows", "-1"]])
def test_wrong_arguments_exit_2(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["history", "--rows", "1", "--output", str(tmp_path / "tickets.csv"), *wrong])
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_missing_folder_exits_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--rows", "1", "--output", str(tmp_path / "none" / "tickets.csv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("part", ["tickets.csv.part", "tickets.csv.truth.parquet.part"])
def test_a_full_disk_exits_5(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / part).symlink_to("/dev/full")
    assert main(["history", "--rows", "20000", "--quiet", "--output", str(tmp_path / "tickets.csv")]) == 5
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.embedded
def test_an_interrupted_run_exits_130_and_leaves_nothing(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 130
    assert errors.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.embedded
def test_a_killed_run_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.kill()
    run.communicate(timeout=300)
    assert {path.suffix for path in tmp_path.iterdir()} == {".part"}


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """A run that takes long, once it writes."""
    command = [sys.executable, "-m", "prestacop", "simulate", "history", "--rows", "100000000", "--quiet", "--output"]
    root = Path(__file__).parents[3]
    run = subprocess.Popen([*command, str(folder / "t.csv")], stderr=subprocess.PIPE, cwd=root, env=os.environ)
    part = folder / "t.csv.part"
    wait_until(lambda: run.poll() is not None or (part.exists() and part.stat().st_size > 0))
    assert run.poll() is None
    return run
