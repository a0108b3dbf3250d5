"""Types of command-line arguments: text -> value, or ArgumentTypeError with what is wrong with it."""

from argparse import ArgumentTypeError
from datetime import datetime, timedelta

from schemas.messages import MAX_IMAGE_BYTES


def count(text: str) -> int:
    """A whole number from 0."""
    value = int(text)
    if value < 0:
        raise ArgumentTypeError(f"{text} is negative")
    return value


def positive_count(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"{text} is below 1")
    return value


def share(text: str) -> float:
    """0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def seconds(text: str) -> float:
    """A time from 0."""
    value = float(text)
    if not 0 <= value < timedelta.max.total_seconds():
        raise ArgumentTypeError(f"{text} is not a number of seconds from 0")
    return value


def rate(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text} is not above 0")
    return value


def moment(text: str) -> datetime:
    """A time with its zone, in RFC 3339."""
    value = datetime.fromisoformat(text)
    if value.utcoffset() is None:
        raise ArgumentTypeError(f"{text} has no zone: end it with Z")
    return value


def hour(text: str) -> float:
    """A time from 0 to an hour."""
    value = float(text)
    if not 0 <= value <= 3600:
        raise ArgumentTypeError(f"{text} is not between 0 and 3600 seconds")
    return value


def image_bytes(text: str) -> int:
    """The size of a picture, as large as a message may carry."""
    value = int(text)
    if not 0 <= value <= MAX_IMAGE_BYTES:
        raise ArgumentTypeError(f"{text} is not between 0 and {MAX_IMAGE_BYTES}")
    return value
