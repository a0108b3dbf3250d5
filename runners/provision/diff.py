"""What is told about each thing: one line."""

from typing import Final, NamedTuple

from schemas.errors import PrestaCopError

CREATED: Final = "created"
EXISTS: Final = "exists"
DIFFERS: Final = "differs"
UPDATED: Final = "updated"
WARNING: Final = "warning"
"""The server has no such thing."""
_WOULD: Final = {CREATED: "would create", UPDATED: "would update"}


class Refused(PrestaCopError):
    """The service answers, and does not do it."""

    exit_code = 3


class Mode(NamedTuple):
    """What may be changed."""

    update: bool = False
    """Things that are there and differ."""
    dry_run: bool = False
    """Nothing at all: what would be done is told."""


class Line(NamedTuple):
    """What was found or done."""

    state: str
    thing: str
    detail: str

    @property
    def is_well(self) -> bool:
        """Whether the thing is now as it is wanted."""
        return self.state not in (DIFFERS, WARNING)

    def text(self, dry_run: bool) -> str:
        """As it is printed."""
        state = _WOULD.get(self.state, self.state) if dry_run else self.state
        return f"{state:13}{self.thing:43} {self.detail}"


class Difference(NamedTuple):
    """One setting of a thing that is there."""

    name: str
    found: object
    wanted: object
    why_kept: str = ""
    """Why --update does not change it; it does where nothing stands here."""

    def __str__(self) -> str:
        return f"{self.name} {self.found}, wanted {self.wanted}" + (f" ({self.why_kept})" if self.why_kept else "")


Differences = list[Difference]


def compared(thing: str, detail: str, differences: Differences, mode: Mode) -> tuple[Differences, list[Line]]:
    """Those differences that are to be changed now, and the lines of a thing that is there.

    >>> compared("topic t", "as wanted", [], Mode())
    ([], [Line(state='exists', thing='topic t', detail='as wanted')])
    >>> compared("topic t", "", [Difference("size", 1, 2)], Mode())[1][0].detail
    'size 1, wanted 2; --update changes it'
    """
    if not differences:
        return [], [Line(EXISTS, thing, detail)]
    changed = [d for d in differences if mode.update and not d.why_kept]
    changes = "; ".join(f"{d.name} {d.found} -> {d.wanted}" for d in changed)
    lines = [Line(UPDATED, thing, changes)] if changed else []
    kept = [d for d in differences if d not in changed]
    if kept:
        hint = "" if all(d.why_kept for d in kept) else "; --update changes it"
        lines.append(Line(DIFFERS, thing, "; ".join(map(str, kept)) + hint))
    return changed, lines
