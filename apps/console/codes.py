"""Violation codes, searchable by number or words."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.errors import InputUnusable
from schemas.messages import MAX_CODE, UNQUALIFIED
from schemas.violation_codes import NAMES

NO_VIOLATION: Final = "No violation"
_COLUMNS: Final = ("CODE", "DEFINITION")


class Codes:
    """A table of codes from 1 to :data:`MAX_CODE`. :data:`UNQUALIFIED` stands for "no violation"."""

    def __init__(self, words: Mapping[int, str]) -> None:
        self.choices = {UNQUALIFIED: NO_VIOLATION, **dict(sorted(words.items()))}
        """Code -> name, in order of the codes."""

    def name(self, code: int) -> str:
        """The name of a code."""
        return self.choices.get(code, f"Code {code}")

    def beginning_with(self, codes: Sequence[int]) -> dict[int, str]:
        """All codes with their names: first these, as far as the table has them.

        >>> list(Codes({21: "No parking", 40: "Fire hydrant"}).beginning_with([40, 77]))
        [40, 0, 21]
        """
        return {code: self.choices[code] for code in codes if code in self.choices} | self.choices

    def find(self, text: str) -> list[int]:
        """Search: the code itself, or the codes whose name contains all words.

        >>> Codes({40: "Fire hydrant", 41: "Fire lane"}).find("hyd fi")
        [40]
        """
        text = text.strip()
        if re.fullmatch(r"[0-9]{1,3}", text):
            return [int(text)] if int(text) in self.choices else []
        words_of_query = text.casefold().split()
        return [
            code
            for code, name in self.choices.items()
            if words_of_query and all(word in name.casefold() for word in words_of_query)
        ]


def read_codes(path: Path | None) -> Codes:
    """The city's table: a CSV with columns CODE and DEFINITION. Without one, short names. Raises InputUnusable."""
    if path is None:
        return Codes({code: NAMES.get(code, f"Code {code}") for code in range(1, MAX_CODE + 1)})
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (table.fieldnames or ())]
            if missing:
                raise InputUnusable(f"{path}: no column {missing[0]}; it needs {' and '.join(_COLUMNS)}")
            words = {int(row["CODE"]): " ".join(row["DEFINITION"].split()) for row in table}
    except OSError as error:
        raise InputUnusable(f"{path}: the table of codes cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error, AttributeError) as error:
        raise InputUnusable(f"{path}: no table of codes: {error}") from error
    outside = [code for code in words if not 0 < code <= MAX_CODE]
    if outside or not words:
        raise InputUnusable(f"{path}: codes are from 1 to {MAX_CODE}: {outside[:3] or 'there is none'}")
    return Codes(words)
