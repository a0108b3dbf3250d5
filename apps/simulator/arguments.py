"""Types and defaults of the simulator's arguments that no other command has."""

from argparse import ArgumentTypeError
from datetime import datetime
from typing import Final

DUPLICATE_WITHIN_S: Final = 10.0
"""The default of ``--duplicates-within``."""


def moment(text: str) -> datetime:
    """A time with its zone, in RFC 3339."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time: write 2026-01-15T12:00:00Z") from error
    if value.utcoffset() is None:
        raise ArgumentTypeError(f"{text} has no zone: end it with Z")
    return value
