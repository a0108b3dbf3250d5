"""How far a command is, on stderr: a bar on a terminal; a pipe or a file gets a plain line now and then."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from terminal.logs import is_json

PLAIN_S = 10.0
_TERMINAL_S = 0.3
_COLUMNS, _ROWS = 80, 24
_OF = "{desc}: {percentage:.0f} % of {total_fmt}{unit}, {rate_fmt}, {remaining} left{postfix}"
_SO_FAR = "{desc}: {n_fmt}{unit}, {rate_fmt}{postfix}"


class Bar(tqdm):  # type: ignore[type-arg]  # it is no generic class at run time
    """What ``tqdm`` shows, in ``unit``, of ``total`` if that is known; ``done`` is from before. On a terminal it is
    shown anew every ``seconds``."""

    def __init__(
        self,
        of: Iterable[Any] | None = None,
        *,
        desc: str,
        unit: str,
        quiet: bool,
        total: int | None = None,
        done: int = 0,
        seconds: float = _TERMINAL_S,
    ) -> None:
        self._terminal = sys.stderr.isatty()
        # One that does not say how large it is, such as that of a container, would get an empty bar.
        without_size = self._terminal and not os.get_terminal_size(sys.stderr.fileno()).columns
        super().__init__(
            of,
            desc=desc,
            unit=unit,
            unit_scale=True,
            total=total,
            initial=done,
            disable=quiet or is_json(),
            file=sys.stderr,
            ncols=_COLUMNS if without_size else None,
            nrows=_ROWS if without_size else None,
            mininterval=seconds if self._terminal else PLAIN_S,
            miniters=None if self._terminal else 0,
            delay=0 if self._terminal else PLAIN_S,
        )

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show it; a plain line is one more."""
        if self._terminal:
            super().display(msg, pos)
        else:
            form = {**self.format_dict, "bar_format": _OF if self.total else _SO_FAR}
            print(self.format_meter(**form), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave a bar where it is; a command's own lines say how it ended."""
        if not self._terminal:
            self.last_print_t = 0.0  # as if nothing had been shown: no last line
        super().close()
