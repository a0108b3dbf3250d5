"""The file of live statistics: the graph appends lines to it, the console and ``prestacop live`` read them."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from schemas.messages import MAX_CODE

FLEET_LINE: Final = b'{"drones":'
"""How a line begins that has the last message of each drone; the others are panes."""
AHEAD_SECONDS: Final = 3600
"""A window that begins later than that belongs to a drone with a wrong clock: it would stay the newest one."""
_LONGEST_WINDOW_SECONDS: Final = 366 * 86_400

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Name = Annotated[str, msgspec.Meta(max_length=50)]


class Pane(msgspec.Struct, frozen=True):
    """A change of a window's count; see :mod:`transforms.live.windows`."""

    window_start: Annotated[datetime, msgspec.Meta(tz=True)]
    window_seconds: Annotated[int, msgspec.Meta(gt=0, le=_LONGEST_WINDOW_SECONDS)]
    dataset: _Name | None
    violation_code: Annotated[int, msgspec.Meta(ge=0, le=MAX_CODE)] | None
    n: _Count
    timing: _Name
    areas: dict[_Name, _Count] | None = None
    """The same rows counted again, by area."""
