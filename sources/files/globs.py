"""Which files a name or a pattern matches: one rule for a disk and for a bucket.

``*``, ``?``, ``[abc]`` and ``[!abc]`` match characters of one part of a path, never a ``/``; ``**`` matches any number
of folders, also none. A name that begins with a dot is matched only by a part that begins with one. A part with
brackets that is the name of a file or folder there matches that, and is not a pattern. ``**`` does not follow symbolic
links to folders.
"""

import errno
import glob
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Protocol

from lake.faults import faults
from lake.storage import bucket, check_name, split_url
from schemas.errors import InputUnusable
from schemas.files.urls import FILE, local_path, unescaped

_ANY_FOLDERS: Final = "**"
_SPECIAL: Final = re.compile(r"[*?[]")
_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass
class _Entries:
    """The names in a folder."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    """Those of the folders that are symbolic links."""
    others: set[str] = field(default_factory=set)
    """Links that lead nowhere, pipes, devices."""


class _Place(Protocol):
    """Where files are. Paths have ``/`` between their parts; those of folders end with one."""

    def entries(self, folder: str, beginning: str) -> _Entries:
        """What is in a folder, at least the names with this beginning; nothing where there is no such folder."""

    def below(self, folder: str) -> None:
        """All that is below a folder will be listed."""

    def kind(self, path: str) -> str | None:
        """``file``, ``folder`` or ``other``; None where there is nothing."""

    def url(self, path: str) -> str:
        """The name of an input file there."""


def expand(pattern: str) -> list[str]:
    """The files that a path, a ``file://``, ``s3://`` or ``gs://`` URL, or a pattern of either matches, sorted.

    Raises InputUnusable where it matches no file, NotPermitted, ServiceUnavailable.
    """
    check_name(pattern, InputUnusable)
    if in_bucket := split_url(pattern):
        root, path = in_bucket
        if _SPECIAL.search(root):
            scheme = root.partition("://")[0]
            raise InputUnusable(f"{pattern}: the name of a bucket cannot be a pattern; write {scheme}://BUCKET/PATTERN")
        place: _Place = _Bucket(root)
    else:
        place, path = _Disk(), re.sub("/{2,}", "/", _local_pattern(pattern))
        check_name(path, InputUnusable)
    with faults(pattern, InputUnusable):
        if _SPECIAL.search(path):
            files, others = _search(place, path)
        else:
            kind = place.kind(path)
            files, others = {path} if kind == "file" else set(), {path: kind} if kind else {}
    if odd := sorted(path for path, kind in others.items() if kind == "other"):
        raise InputUnusable(
            f"{place.url(odd[0])}: a link that leads nowhere, or no regular file; mend it, remove it, or copy what it "
            "gives to a file"
        )
    if not files and (others or (path.endswith("/") and _SPECIAL.search(path))):
        raise InputUnusable(
            f"{pattern}: this is a folder; write {pattern.rstrip('/')}/*.csv, or how the names of its files end"
        )
    if not files:
        raise InputUnusable(
            f"{pattern}: no file has this name; check the path (a pattern needs quotes in the shell, and [[] for a "
            "bracket)"
        )
    return [place.url(path) for path in sorted(files)]


def _search(place: _Place, path: str) -> tuple[set[str], dict[str, str]]:
    """The files that a pattern matches, and the kinds of everything else that it matches."""
    parts = path.split("/")
    first = next(at for at, part in enumerate(parts) if _SPECIAL.search(part))
    todo = [("".join(f"{part}/" for part in parts[:first]), first)]
    done: set[tuple[str, int]] = set()
    files: set[str] = set()
    others: dict[str, str] = {}
    while todo:
        folder, at = step = todo.pop()
        if step in done:  # two ** in a pattern lead to a folder by several ways
            continue
        done.add(step)
        part, is_last = parts[at], at + 1 == len(parts)
        if part == _ANY_FOLDERS:
            place.below(folder)
            there = place.entries(folder, "")
            todo += [(f"{folder}{name}/", at) for name in _matching(there.folders - there.links, "*")]
            if not is_last:
                todo.append((folder, at + 1))
                continue
            part = "*"
        there = place.entries(folder, _SPECIAL.split(part)[0])
        if is_last:
            files |= {folder + name for name in _matching(there.files, part)}
            others |= {folder + name: "folder" for name in _matching(there.folders, part)}
            others |= {folder + name: "other" for name in _matching(there.others, part)}
        elif _SPECIAL.search(part):
            todo += [(f"{folder}{name}/", at + 1) for name in _matching(there.folders, part)]
        else:
            todo.append((f"{folder}{part}/", at + 1))
    return files, others


def _matching(names: Iterable[str], part: str) -> list[str]:
    if not _SPECIAL.search(part) or ("[" in part and part in names):
        return [part] if part in names else []
    matches_hidden = part.startswith(".")
    return [name for name in names if (matches_hidden or not name.startswith(".")) and fnmatchcase(name, part)]


def _local_pattern(pattern: str) -> str:
    """The path of a pattern; what is escaped in a URL is taken literally."""
    path = local_path(pattern)
    is_escaped = pattern.startswith(FILE) and path != pattern.removeprefix(FILE)
    return unescaped(pattern, glob.escape) if is_escaped else path


class _Disk:
    def entries(self, folder: str, beginning: str) -> _Entries:
        found = _Entries()
        where = folder or "."
        with faults(where, InputUnusable):
            try:
                with os.scandir(where) as entries:
                    for entry in entries:
                        if entry.name.startswith(beginning):
                            self._add(entry, found)
            except OSError as error:
                if error.errno not in _NOTHING_THERE:
                    raise
        return found

    def _add(self, entry: "os.DirEntry[str]", found: _Entries) -> None:
        is_link = entry.is_symlink()
        if entry.is_dir(follow_symlinks=False):
            kind: str | None = "folder"
        else:
            kind = "file" if not is_link and entry.is_file() else self.kind(entry.path)
        {"file": found.files, "folder": found.folders}.get(kind or "other", found.others).add(entry.name)
        if is_link and kind == "folder":
            found.links.add(entry.name)

    def below(self, folder: str) -> None:
        pass

    def kind(self, path: str) -> str | None:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise
            return "other" if os.path.islink(path) else None
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"

    def url(self, path: str) -> str:
        return path


class _Bucket:
    def __init__(self, root: str) -> None:
        self._store = bucket(root)
        self._known: dict[str, _Entries] = {}
        self._known_below: list[str] = []

    def entries(self, folder: str, beginning: str) -> _Entries:
        if folder.startswith(tuple(self._known_below)):
            return self._known.get(folder) or _Entries()
        found = _Entries()
        for key in self._store.keys(folder + beginning, below=False):
            name, is_folder, _ = key.removeprefix(folder).partition("/")
            if is_folder:
                found.folders.add(name)
            elif name:
                found.files.add(name)
        return found

    def below(self, folder: str) -> None:
        if folder.startswith(tuple(self._known_below)):
            return
        self._known_below.append(folder)
        for key in self._store.keys(folder, below=True):
            at = folder
            *folders, name = key.removeprefix(folder).split("/")
            for part in folders:
                self._there(at).folders.add(part)
                at += f"{part}/"
            if name:  # a key that ends with a slash is what some programs make for a folder
                self._there(at).files.add(name)

    def _there(self, folder: str) -> _Entries:
        return self._known.setdefault(folder, _Entries())

    def kind(self, path: str) -> str | None:
        if path and not path.endswith("/") and next(self._store.keys(path, below=True), None) == path:
            return "file"
        folder = path if path.endswith("/") or not path else f"{path}/"
        return "folder" if not folder or next(self._store.keys(folder, below=True), None) else None

    def url(self, path: str) -> str:
        return f"{self._store.root}/{path}"
