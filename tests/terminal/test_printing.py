"""No text of others reaches a terminal as a control character."""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terminal.printing import guarded_output, printable, unguarded
from tests.support import make_messages

BLANKS = "\n\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
CLEAR = "\x1b[2J\x1b]0;owned\x07"


@given(st.text())
@example("37\u00a0%")
@example("a\u2028b\u2029c\u200bd")
def test_what_is_printed_is_printable_and_lines_stay_lines(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c in BLANKS for c in shown)
    assert shown.count("\n") == text.count("\n")
    assert shown == text or not all(c.isprintable() or c in BLANKS for c in text)


def test_a_guarded_stream_escapes_and_a_bar_of_progress_goes_back_to_the_start() -> None:
    screen = io.StringIO()
    with redirect_stdout(screen), guarded_output(), guarded_output():
        print(f"name {CLEAR}\rx")
        sys.stdout.writelines(["\x9b1A"])
        sys.stdout.write("\r 50 %")
        unguarded(sys.stdout).write("\x1b[1F")
    assert screen.getvalue() == "name \\x1b[2J\\x1b]0;owned\\x07\\rx\n\\x9b1A\r 50 %\x1b[1F"


@pytest.mark.embedded
@pytest.mark.parametrize("field", ["event_time", "drone_id", "kind", "status"])
def test_a_message_cannot_write_control_characters_to_the_terminal(tmp_path: Path, field: str) -> None:
    fleet = make_messages(tmp_path / "fleet.jsonl", 5, 20)
    with fleet.open("a") as file:
        file.write(
            '{"schema_version":1,"message_id":"m","'
            + field
            + '":"'
            + CLEAR.encode("unicode_escape").decode().replace("\\x", "\\u00")
            + '"}\n'
        )
    hostile = tmp_path / f"{CLEAR}.jsonl".replace("/", "")
    fleet.rename(hostile)
    command = [sys.executable, "-m", "prestacop", "run", "--messages", f"file:{hostile}"]
    done = subprocess.run([*command, "--lake", str(tmp_path / "lake")], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "dead letters by reason" in done.stdout
    assert "\\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.embedded
def test_a_file_name_cannot_write_control_characters_to_the_terminal(tmp_path: Path) -> None:
    for name, flags in (
        ("run", ["--lake", str(tmp_path / "lake"), "--history"]),
        ("reconcile", ["--lake"]),
    ):
        command = [sys.executable, "-m", "prestacop", name, *flags, f"{tmp_path}/{CLEAR}x"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        assert "\\x1b[2J" in done.stderr
        assert "\x1b" not in done.stderr
