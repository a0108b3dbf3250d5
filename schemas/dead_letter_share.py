"""The share of dead letters from which an input is taken for the wrong one (``--max-dead-letters``)."""

from fractions import Fraction
from typing import Final

DEFAULT_SHARE: Final = Fraction(1, 10)
MIN_ROWS: Final = 1_000
"""A share of fewer rows means little: a smaller unit is judged as if it had so many."""


def percent(share: Fraction) -> str:
    """As the flag has it.

    >>> percent(Fraction(1, 10)), percent(Fraction(1, 200))
    ('10%', '0.5%')
    """
    return f"{float(100 * share):g}%"
