"""The answers of a report, kept in a file beside it, so that what has not changed is not computed again.

They are given out only where all of this is as it was: the source text of this program, what the caller adds to the
key, the lake's last change, its units that are not published yet, its files, and the page. Damage to a file of the
lake that leaves its size as it is goes unnoticed here; ``prestacop reconcile`` finds it.
"""

import os
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Final

import msgspec

from lake import Lake
from pipelines.analysis.html_report import written
from pipelines.analysis.results import Answers
from schemas.lake import Dataset

_PACKAGES: Final = ("lake", "messaging", "pipelines", "runners", "schemas", "sources", "terminal", "transforms")


class _Kept(msgspec.Struct, frozen=True):
    key: str
    page: str
    """SHA-256 of the report."""
    answers: Answers


def key_of(root: str, *asked: str) -> str:
    """The key of what the answers are a function of, 32 hexadecimal digits.

    Args:
        root: the lake.
        asked: everything else that they depend on, such as flags.
    """
    lk = Lake(root)
    digest = blake2b(digest_size=16)
    digest.update(_program(Path(__file__).parents[2]))
    units = [unit for rows in (lk.pending, lk.tail) for unit in rows["unit"].to_pylist()]
    files = sorted(lk.entries(*Dataset))
    digest.update(repr((root, asked, lk.number, lk.units, sorted(units), files)).encode())
    return digest.hexdigest()


def kept_answers(report: Path, key: str) -> Answers | None:
    """The answers that the report was made of; None where there are none of this key, or the page is another one."""
    try:
        kept = msgspec.json.decode(_beside(report).read_bytes(), type=_Kept)
        page = report.read_bytes()
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return kept.answers if (kept.key, kept.page) == (key, sha256(page).hexdigest()) else None


def keep_answers(report: Path, key: str, answers: Answers) -> None:
    """Keep the answers that the report was made of, if it is a file.

    Raises OutputUnusable, NotPermitted, DiskFull where they cannot be written.
    """
    if not report.is_file():
        return
    data = msgspec.json.encode(_Kept(key, sha256(report.read_bytes()).hexdigest(), answers))
    with written(_beside(report)) as target:
        target.write_bytes(data)


def _beside(report: Path) -> Path:
    return report.with_name(f".{report.name}.answers")


@cache  # what runs now was imported already
def _program(top: Path) -> bytes:
    """A hash of the source text: a version number would stay the same while somebody works on it."""
    digest = blake2b(digest_size=16)
    for package in _PACKAGES:
        for folder, folders, names in os.walk(top / package):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                path = Path(folder, name)
                digest.update(repr((str(path.relative_to(top)), path.stat().st_size)).encode())
                digest.update(path.read_bytes())
    return digest.digest()
