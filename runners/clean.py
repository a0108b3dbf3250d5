"""``make clean`` and ``make distclean``: remove what the product has made, which is what carries its mark.

It needs nothing but Python: the environment is among what it removes.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.errors import OutputUnusable
from schemas.files.marks import MARK, Mark, mark_of, unmarked
from terminal.arguments import command_parser

ROOT = Path(__file__).resolve().parents[1]
"""The work tree."""
_INSTALLED = ".installed"
"""The mark that the Makefile puts on the environment."""


class _Found(NamedTuple):
    remove: list[Path]
    left: list[str]
    """What looks removable and is not, each with the reason and what to do."""


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop clean``."""
    made = command_parser(
        "prestacop clean",
        f"Remove what prestacop made here and marked with {MARK}: programs, the environment and simulated input; "
        "data only with --all.",
        "examples:\n  prestacop clean\n  prestacop clean --all --data my/data\n\n"
        "exit codes: 0 done, 2 something was left because it has no mark, or it was not confirmed",
    )
    made.add_argument("--data", metavar="DIR", help="the directory that run-local had as --data (default: data)")
    made.add_argument(
        "--all", action="store_true", help="also remove data: lakes, the bucket, the officers' key and accounts"
    )
    made.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    flags = parser()
    arguments = flags.parse_args(argv)
    if arguments.data == "":
        flags.error("--data is empty: name a folder (make clean DATA=DIR), or leave it out")
    data = Path(arguments.data) if arguments.data is not None else ROOT / "data"
    found = _found(data, arguments.data is not None, arguments.all)
    if arguments.all and not _may_be_removed(found.remove, arguments.yes):
        return 2
    for folder in found.remove:
        print(f"removing {folder}")
        shutil.rmtree(folder)  # follows no symbolic link
    kept = [str(top) for top in (ROOT / ".services", data) if top.exists() and not arguments.all]
    if kept:
        print(f"kept: the data in {' and '.join(kept)} (make distclean removes it, after a question)")
    for line in found.left:
        print(f"left: {line}", file=sys.stderr)
    return 2 if found.left else 0


def _found(data: Path, is_given: bool, data_too: bool) -> _Found:
    remove: list[Path] = []
    left: list[str] = []
    for top in (ROOT / ".services", data):
        if top.is_symlink():
            left.append(f"{top} is a symbolic link, and none is followed; name the folder itself: DATA=DIR")
        elif mark_of(top) and data_too:
            remove.append(_checked(top))
        elif top.is_dir():
            removable = set(Mark) if data_too else {Mark.REBUILT}
            marked = [folder for folder in sorted(top.iterdir()) if mark_of(folder) in removable]
            remove += map(_checked, marked)
            if not mark_of(top) and (data_too or (is_given and top == data and not marked)):
                left.append(unmarked(top))
        elif is_given and top == data:
            left.append(f"{top}: there is no such folder")
    programs = ROOT / ".services"
    if not data_too and programs.is_dir() and not programs.is_symlink():
        left += [unmarked(folder) for folder in sorted(programs.glob("*-????????????/")) if not mark_of(folder)]
    environment = ROOT / ".venv"
    if environment.is_symlink():
        left.append(f"{environment} is a symbolic link, and none is followed; remove the link yourself")
    elif (environment / _INSTALLED).is_file():
        remove.append(environment)
    elif environment.exists():
        left.append(unmarked(environment, _INSTALLED))
    return _Found(remove, left)


def _checked(folder: Path) -> Path:
    """The folder. Raises OutputUnusable where more than what the product has made would go with it."""
    real = folder.resolve()
    for inside in (Path.home().resolve(), ROOT, Path.cwd()):
        if inside == real or real in inside.parents:
            raise OutputUnusable(f"{folder}: {inside} is in it, so nothing was removed; look who put {MARK} there")
    return folder


def _may_be_removed(folders: list[Path], yes: bool) -> bool:
    """Whether the user confirms it."""
    for folder in folders:
        print(f"{folder}: {', '.join(_inside(folder)) or 'empty'}")
    if yes or not folders:
        return True
    if not sys.stdin.isatty():
        print(
            "error: this removes data for good, and there is no terminal to confirm it: make distclean YES=1",
            file=sys.stderr,
        )
        return False
    print("Remove all of this for good? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was removed")
    return False


def _inside(folder: Path) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name != MARK:
            yield entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
