"""make clean removes what carries the product's own mark, and nothing else; data only make distclean, when told to."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from runners import clean
from runners.clean import main
from schemas.errors import OutputUnusable
from schemas.files.marks import MARK, Mark, make_folder, mark_of


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree in which everything was made."""
    root = tmp_path / "tree"
    home = tmp_path / "home"
    home.mkdir()
    root.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(clean, "ROOT", root)
    make_folder(root / ".services", Mark.KEPT)
    make_folder(root / ".services/kafka-0123456789ab", Mark.REBUILT)
    make_folder(root / ".services/data", Mark.KEPT)
    (root / ".services/data/s3").mkdir()
    (root / ".venv").mkdir()
    (root / ".venv/.installed").touch()
    made(root / "data")
    monkeypatch.chdir(root)
    return root


def made(data: Path) -> Path:
    """Data as run-local makes them."""
    make_folder(data, Mark.KEPT)
    make_folder(data / "input", Mark.REBUILT)
    (data / "input/history.csv").touch()
    (data / "lake").mkdir()
    (data / "lake/ledger").touch()
    return data


def files(root: Path) -> set[str]:
    """All that is there, but marks."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.name != MARK}


def test_clean_keeps_all_data(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert files(tree) == {".services", ".services/data", ".services/data/s3", "data", "data/lake", "data/lake/ledger"}
    printed = capsys.readouterr()
    assert "make distclean" in printed.out
    assert printed.err == ""
    assert main([]) == 0


@pytest.mark.parametrize("name", ["elsewhere", "a b", "$HOME;'\"", "-x", "ü\nb"])
def test_a_folder_without_a_mark_is_never_removed(
    tree: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / name / "lake"
    precious.mkdir(parents=True)
    (precious / "history.csv").touch()
    for flags in ([], ["--all", "--yes"]):
        assert main([f"--data={precious.parent}", *flags]) == 2
        assert (precious / "history.csv").exists()
        assert f"has no {MARK}, so it may be yours; if nothing in it is, remove it yourself: rm -r -- " in (
            capsys.readouterr().err
        )
    assert (tree / "data/lake/ledger").exists()


def test_of_a_folder_without_a_mark_only_marked_content_is_removed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    data = made(tmp_path / "mine")
    assert mark_of(data) is None
    assert main(["--data", str(data)]) == 0
    assert files(data) == {"thesis.txt", "lake", "lake/ledger"}
    assert main(["--data", str(data), "--all", "--yes"]) == 2
    assert files(data) == {"thesis.txt", "lake", "lake/ledger"}


@pytest.mark.parametrize("flags", [[], ["--all", "--yes"]])
def test_no_link_is_followed(tree: Path, tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    data = made(tmp_path / "real")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    make_folder(tmp_path / "marked", Mark.REBUILT)
    (data / "input/link").symlink_to(tmp_path / "precious")
    (data / "link").symlink_to(tmp_path / "marked")
    (tmp_path / "data").symlink_to(data)
    assert main(["--data", str(tmp_path / "data"), *flags]) == 2
    assert "symbolic link" in capsys.readouterr().err
    assert (data / "input/history.csv").exists()
    assert main(["--data", str(data), *flags]) == 0
    assert not (data / "input").exists()
    assert (tmp_path / "precious/file").exists()
    assert (tmp_path / "marked").exists()


@pytest.mark.parametrize("where", ["/", "home", ".", "..", ""])
def test_root_home_and_the_work_tree_are_left(tree: Path, tmp_path: Path, where: str) -> None:
    before = files(tmp_path / "home")
    if where == "":
        with pytest.raises(SystemExit, match="2"):
            main(["--data="])
        return
    assert main(["--data", where.replace("home", str(tmp_path / "home"))]) == 2
    assert (tree / "data/lake/ledger").exists()
    assert files(tmp_path / "home") == before


@pytest.mark.parametrize("where", ["tmp_path", "home", "tree"])
def test_a_mark_above_home_or_the_work_tree_is_ignored(tree: Path, tmp_path: Path, where: str) -> None:
    folder = {"tmp_path": tmp_path, "home": tmp_path / "home", "tree": tree}[where]
    (folder / MARK).write_text(Mark.KEPT)
    with pytest.raises(OutputUnusable, match="nothing was removed"):
        main(["--data", str(folder), "--all", "--yes"])
    assert (tree / "data/lake/ledger").exists()
    assert (tmp_path / "home").exists()


def test_what_earlier_versions_made_is_named(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (".services/kafka-0123456789ab/" + MARK, ".venv/.installed"):
        (tree / path).unlink()
    assert main([]) == 2
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == [
        str(tree / ".services/kafka-0123456789ab"),
        str(tree / ".venv"),
    ]


def answered(tree: Path, answer: str) -> int:
    """The exit code of make distclean where somebody at a terminal answers."""
    script = f"import runners.clean as c; from pathlib import Path; c.ROOT = Path({str(tree)!r}); import sys; "
    script += "sys.exit(c.main(['--all']))"
    us, them = pty.openpty()
    os.write(us, answer.encode())
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], stdin=them, cwd=root, capture_output=True, check=False)
    os.close(us)
    os.close(them)
    assert b"data: input/, lake/" in done.stdout
    return done.returncode


@pytest.mark.embedded
def test_distclean_asks_for_confirmation_on_a_terminal(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert main(["--all"]) == 2
    assert answered(tree, "\n") == answered(tree, "n\n") == 2
    assert (tree / "data/lake/ledger").exists()
    assert answered(tree, "y\n") == 0
    assert files(tree) == set()


def test_distclean_with_yes_asks_for_no_confirmation(tree: Path) -> None:
    assert main(["--all", "--yes"]) == 0
    assert files(tree) == set()
    assert main(["--all"]) == 0


def test_a_mark_is_put_on_a_new_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    make_folder(tmp_path / "there/a/b", Mark.REBUILT)
    for name in ("there", "there/a", "there/a/b"):
        make_folder(tmp_path / name, Mark.KEPT)
    marks = [mark_of(tmp_path / name) for name in ("there", "there/a", "there/a/b")]
    assert marks == [None, Mark.KEPT, Mark.REBUILT]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file", Mark.KEPT)
    (tmp_path / "there/a" / MARK).write_text("something else")
    assert mark_of(tmp_path / "there/a") is None
