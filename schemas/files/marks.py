"""The mark on folders that the product has made: what carries none is never removed."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Final

from schemas.os_errors import exists

MARK: Final = ".made-by-prestacop"


class Mark(StrEnum):
    """The text of the mark."""

    REBUILT = "PrestaCop made this folder, and can make it again: make clean removes it.\n"
    KEPT = "PrestaCop made this folder, and its data is here: make distclean removes it, after a question.\n"


def make_folder(folder: Path, mark: Mark, mode: int = 0o777) -> None:
    """Make a folder and put the mark on it, and one of data on those above it that it makes; what is there already
    stays as it is."""
    if not exists(folder.parent):
        make_folder(folder.parent, Mark.KEPT)
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        if folder.is_dir():
            return
        raise
    (folder / MARK).write_text(mark)


def mark_of(folder: Path) -> Mark | None:
    """The mark that a folder carries; None where it has none, is a symbolic link, or keeps this user out."""
    path = folder / MARK
    try:
        if folder.is_symlink() or not folder.is_dir() or path.is_symlink() or not path.is_file():
            return None
        text = path.read_bytes()[:200].decode("ascii", "replace")
    except PermissionError:  # what this user made it can read
        return None
    return next((mark for mark in Mark if mark == text), None)


def unmarked(folder: Path, mark: str = MARK) -> str:
    """What to say of a folder that is not removed because it lacks the mark."""
    quoted = shlex.quote(str(folder))
    return f"{folder} has no {mark}, so it may be yours; if nothing in it is, remove it yourself: rm -r -- {quoted}"
