"""The line that is printed for each topic, subscription or rule."""

from typing import Final, NamedTuple

CREATED: Final = "created"
EXISTS: Final = "exists"
DIFFERS: Final = "differs"
UPDATED: Final = "updated"
WARNING: Final = "warning"
"""The server has no such thing."""
_WOULD: Final = {CREATED: "would create", UPDATED: "would update"}


class Mode(NamedTuple):
    """What may be changed."""

    update: bool = False
    """Change things that exist and differ."""
    dry_run: bool = False
    """Change nothing, and print what would be changed."""


class Line(NamedTuple):
    """One thing and its state."""

    state: str
    thing: str
    detail: str

    @property
    def is_ok(self) -> bool:
        """Whether the thing is as specified now."""
        return self.state not in (DIFFERS, WARNING)

    def text(self, dry_run: bool) -> str:
        """The printed line."""
        state = _WOULD.get(self.state, self.state) if dry_run else self.state
        return f"{state:13}{self.thing:43} {self.detail}"


class Difference(NamedTuple):
    """One setting of an existing thing that differs."""

    name: str
    found: object
    expected: object
    why_kept: str = ""
    """Why --update does not change it; empty: it does."""

    def __str__(self) -> str:
        return f"{self.name} {self.found}, expected {self.expected}" + (f" ({self.why_kept})" if self.why_kept else "")


Differences = list[Difference]


def compared(thing: str, detail: str, differences: Differences, mode: Mode) -> tuple[Differences, list[Line]]:
    """The differences to change now, and the lines of an existing thing.

    >>> compared("topic t", "as specified", [], Mode())
    ([], [Line(state='exists', thing='topic t', detail='as specified')])
    >>> compared("topic t", "", [Difference("size", 1, 2)], Mode())[1][0].detail
    'size 1, expected 2; --update changes it'
    """
    if not differences:
        return [], [Line(EXISTS, thing, detail)]
    changed = [d for d in differences if mode.update and not d.why_kept]
    changes = "; ".join(f"{d.name} {d.found} -> {d.expected}" for d in changed)
    lines = [Line(UPDATED, thing, changes)] if changed else []
    kept = [d for d in differences if d not in changed]
    if kept:
        hint = "" if all(d.why_kept for d in kept) else "; --update changes it"
        lines.append(Line(DIFFERS, thing, "; ".join(map(str, kept)) + hint))
    return changed, lines
