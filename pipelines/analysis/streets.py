"""Spellings of street names, folded by named rules.

The city's file has a street as whoever wrote the ticket spelled it: ``Broadway``, ``BROADWAY AVE``, ``WEST 42ND
STREET``, ``W 42 St.``. A rule that changes a spelling is named, and the report counts the spellings by rule.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

_SUFFIXES: Final = {
    "ALY": ("ALLEY",), "AVE": ("AVENUE", "AVENU", "AVEN", "AV", "AVE"), "BLVD": ("BOULEVARD", "BOULEVAR", "BLV", "BL"),
    "BRG": ("BRIDGE",), "CIR": ("CIRCLE",), "CT": ("COURT", "CRT"), "DR": ("DRIVE", "DRV"),
    "EXPY": ("EXPRESSWAY", "EXPWY", "EXPWAY", "EXP"), "HWY": ("HIGHWAY", "HGWY", "HGHWY"), "LN": ("LANE",),
    "PKWY": ("PARKWAY", "PKY", "PKWAY", "PWKY"), "PL": ("PLACE", "PLC"), "RD": ("ROAD",),
    "SQ": ("SQUARE", "SQR"), "ST": ("STREET", "STR", "STREE", "STRE"), "TER": ("TERRACE", "TERR"),
    "TPKE": ("TURNPIKE", "TNPK", "TPK"),
}  # fmt: skip
SUFFIX_OF: Final = {spelling: short for short, others in _SUFFIXES.items() for spelling in (short, *others)}
_DIRECTION_OF: Final = {"NORTH": "N", "SOUTH": "S", "EAST": "E", "WEST": "W"}
_DIRECTIONS: Final = frozenset(_DIRECTION_OF.values())
_NUMBER_OF: Final = {
    name: str(number)
    for number, name in enumerate(
        ("FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "SIXTH", "SEVENTH", "EIGHTH", "NINTH", "TENTH", "ELEVENTH",
         "TWELFTH"), 1
    )
}  # fmt: skip
_ORDINAL: Final = re.compile(r"(\d+)(?:ST|ND|RD|TH)")
_APOSTROPHES: Final = re.compile("['\"`]")
_POINTS: Final = re.compile("[.,;:]")
_WITHOUT_SUFFIX: Final = ("BROADWAY", "BOWERY")
"""Streets that have no suffix, whatever is written."""

Words = list[str]


class Folded(NamedTuple):
    """A street, and the rules that changed the spelling into it, in order."""

    name: str
    rules: tuple[str, ...]


def _direction(words: Words) -> Words:
    """EAST, WEST, NORTH and SOUTH as first or last word beside a name, which a suffix is not: WEST ST is a street."""
    if len(words) > 1 and words[0] in _DIRECTION_OF and (len(words) > 2 or words[1] not in SUFFIX_OF):
        words = [_DIRECTION_OF[words[0]], *words[1:]]
    if len(words) > 2 and words[-1] in _DIRECTION_OF:
        words = [*words[:-1], _DIRECTION_OF[words[-1]]]
    return words


def _suffix(words: Words) -> Words:
    """The last word, or that before a direction; and AVENUE as the first one, as in AVENUE N."""
    if len(words) > 1 and SUFFIX_OF.get(words[0]) == "AVE":
        return ["AVE", *words[1:]]
    last = len(words) - (2 if len(words) > 2 and words[-1] in _DIRECTIONS else 1)
    if last > 0 and words[last] in SUFFIX_OF:
        return [*words[:last], SUFFIX_OF[words[last]], *words[last + 1 :]]
    return words


def _ordinal(words: Words) -> Words:
    """42ND is 42 and FIFTH is 5, before another word."""
    numbered = [match[1] if (match := _ORDINAL.fullmatch(word)) else _NUMBER_OF.get(word, word) for word in words[:-1]]
    return [*numbered, *words[-1:]]


def _superfluous(words: Words) -> Words:
    """A suffix behind the name of a street that has none."""
    if len(words) > 1 and words[-2] in _WITHOUT_SUFFIX and words[-1] in ("AVE", "ST"):
        return words[:-1]
    return words


_OF_WORDS: Final[tuple[tuple[str, Callable[[Words], Words]], ...]] = (
    ("direction", _direction),
    ("suffix spelling", _suffix),
    ("ordinal", _ordinal),
    ("superfluous suffix", _superfluous),
)
RULES: Final = ("case", "white space", "punctuation", *(name for name, _ in _OF_WORDS))
"""The rules in the order in which they are tried."""


def fold(spelling: str) -> Folded:
    """The street of a spelling.

    >>> fold("Broadway Ave")
    Folded(name='BROADWAY', rules=('case', 'superfluous suffix'))
    >>> fold("WEST  42ND STREET")
    Folded(name='W 42 ST', rules=('white space', 'direction', 'suffix spelling', 'ordinal'))
    """
    rules = []
    text = spelling.upper()
    if text != spelling:
        rules.append("case")
    words = text.split()
    if " ".join(words) != text:
        rules.append("white space")
    plain = _POINTS.sub(" ", _APOSTROPHES.sub("", " ".join(words))).split()
    if plain and plain != words:
        words = plain
        rules.append("punctuation")
    for name, rule in _OF_WORDS:
        if (folded := rule(words)) != words:
            words = folded
            rules.append(name)
    return Folded(" ".join(words), tuple(rules))
