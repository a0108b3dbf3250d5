"""Power may fail at any byte: what arrives is the file, whatever of journal and output survived."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apps.loader.to_file import ToFile
from schemas.errors import AcknowledgedLost
from schemas.loaded import decode
from tests.apps.loader.loads import HEADER, ROWS, Collected, CutFile, Interrupted, assembled, to
from tests.recovery.loader import campaign

pytestmark = pytest.mark.usefixtures("small_steps")


def stopped(source: Path, blocks: int) -> tuple[Path, Path]:
    """A load to a directory that the power cut: its journal and what it has written."""
    folder, journals = source.parent / "out", source.parent / "journals"
    with pytest.raises(Interrupted):
        to(CutFile(folder, blocks), journals, source)
    (journal,), (part,) = journals.iterdir(), folder.iterdir()
    return journal, part


def finishes(source: Path, journal: Path, part: Path) -> None:
    to(ToFile(part.parent), journal.parent, source)
    (final,) = part.parent.iterdir()
    assert final.read_bytes() == source.read_bytes()
    final.unlink()


def test_a_journal_cut_at_every_byte(source: Path) -> None:
    journal, part = stopped(source, 5)
    written, output = journal.read_bytes(), part.read_bytes()
    assert written.count(b"\n") == 6
    for size in range(len(written)):
        journal.write_bytes(written[:size])
        part.write_bytes(output)
        finishes(source, journal, part)


def test_an_output_cut_at_every_byte(source: Path) -> None:
    journal, part = stopped(source, 5)
    written, output = journal.read_bytes(), part.read_bytes()
    for size in range(len(output)):
        journal.write_bytes(written)
        part.write_bytes(output[:size])
        finishes(source, journal, part)


RUBBISH = st.sampled_from([b"", b"\0" * 30, b"\n", b"00000000 {}\n"])


@given(st.integers(0, 5), st.floats(0, 1), RUBBISH, st.one_of(st.floats(0, 1), RUBBISH))
def test_both_cut_anywhere_or_with_rubbish_behind(
    tmp_path_factory: pytest.TempPathFactory, blocks: int, kept: float, behind: bytes, output: float | bytes
) -> None:
    source = tmp_path_factory.mktemp("cut") / "tickets.csv"
    source.write_bytes(HEADER + ROWS)
    journal, part = stopped(source, blocks)
    written, arrived = journal.read_bytes(), part.read_bytes()
    cut = round(kept * len(written))
    assume(not (0 < cut < 10 and behind.startswith(b"0")))  # text behind a torn checksum: no power cut leaves that
    journal.write_bytes(written[:cut] + behind)
    part.write_bytes(arrived + output if isinstance(output, bytes) else arrived[: round(output * len(arrived))])
    finishes(source, journal, part)


def test_messages_after_a_journal_cut_at_every_byte(source: Path, tmp_path: Path) -> None:
    sent: list[bytes] = []
    with pytest.raises(Interrupted):
        to(Collected(sent, most=3), tmp_path / "journals", source)
    (journal,) = (tmp_path / "journals").iterdir()
    written = journal.read_bytes()
    for size in range(len(written)):
        journal.write_bytes(written[:size])
        topic = list(sent)
        to(Collected(topic), journal.parent, source)
        assert assembled(topic, source.stat().st_size) == source.read_bytes()
        assert all(decode(a).record <= decode(b).record + 3 for a, b in pairwise(topic))
    journal.write_bytes(written)
    topic = list(sent)
    to(Collected(topic), journal.parent, source)
    assert len(topic) == 5  # four rows and the end: nothing was sent twice


def test_a_load_stopped_after_its_last_step_is_complete(source: Path) -> None:
    journal, part = stopped(source, 5)
    written = journal.read_bytes()
    to(ToFile(part.parent), journal.parent, source)
    (final,) = part.parent.iterdir()
    before = final.stat().st_ino
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # the file had its name, and the journal did not know it
    to(ToFile(part.parent), journal.parent, source)
    assert final.stat().st_ino == before
    assert len(written) < journal.stat().st_size


def test_a_load_starts_over_where_the_target_lost_acknowledged_data(source: Path, tmp_path: Path) -> None:
    class Losing(Collected):
        def finish(self) -> None:
            raise AcknowledgedLost("it is gone")

    with pytest.raises(AcknowledgedLost):
        to(Losing([]), tmp_path / "journals", source)
    topic: list[bytes] = []
    to(Collected(topic), tmp_path / "journals", source)
    assert assembled(topic, source.stat().st_size) == source.read_bytes()


@pytest.mark.embedded
@pytest.mark.parametrize("kills", [10, pytest.param(30, marks=pytest.mark.nightly)])
def test_kills_at_random_moments(tmp_path: Path, kills: int) -> None:
    outcome = campaign(tmp_path, "file", kills=kills, seed=1)
    assert outcome.kills == kills
    assert outcome.loads > 0
    assert outcome.different == 0
