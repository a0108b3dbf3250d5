"""Message identifiers: unique, and the same in every run with the same arguments."""

from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

_HEX_DIGITS: Final = 32


class Identities:
    """The identifiers of the messages of one run: 32 hexadecimal digits each.

    Each half is a one-to-one scramble of the message's number, so that no two messages of a run share it. The keys of
    the scrambles are a hash of the run's arguments, so that two runs share none.
    """

    def __init__(self, run: str) -> None:
        """``run`` has everything that may differ between two runs."""
        key = blake2b(run.encode(), digest_size=16).digest()
        self._keys = np.frombuffer(key, dtype=np.uint64)

    def of(self, numbers: npt.NDArray[np.uint64]) -> list[str]:
        """The identifiers of ``numbers``."""
        halves = np.stack([_scramble(numbers ^ key) for key in self._keys], axis=1)
        digits = halves.tobytes().hex()
        return [digits[at : at + _HEX_DIGITS] for at in range(0, len(digits), _HEX_DIGITS)]


def _scramble(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The mixing step of splitmix64 (Steele, Lea and Flood 2014): one to one on 64 bits."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
