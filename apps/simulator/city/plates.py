"""Made-up licence plates in the shapes that New York sees."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from apps.simulator.city.weighted import quantile_table

# Shapes of plates as a first and a second part, and how many of 1,000 plates have each (a few thousand rows of
# NYC Open Data, "Parking Violations Issued - Fiscal Year 2015"). A is a letter, 9 a digit.
_SHAPES: Final = {
    ("AAA", "9999"): 570, ("99999", "AA"): 200, ("A99", "AAA"): 45, ("A999999", "A"): 35, ("AA999", "A"): 35,
    ("AAAA", "99"): 25, ("999", "AAA"): 20, ("999", "9999"): 15, ("9A99", "A"): 15, ("AA9", "9999"): 15,
    ("AAA99", "A"): 10, ("A99", "9999"): 10, ("9AA", "AAA"): 5,
}  # fmt: skip
_FIRSTS: Final = 65_536
_SECONDS: Final = 16_384


class Plates:
    """Draws plates: a first part, and a second one of the kind that goes with it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        shapes = list(_SHAPES)
        kinds = sorted({second for _, second in shapes})
        drawn = quantile_table(list(_SHAPES.values()), _FIRSTS)
        counts = np.bincount(drawn, minlength=len(shapes)).tolist()
        firsts = [_fill(first, count, rng) for (first, _), count in zip(shapes, counts, strict=True)]
        self._firsts: Final = pa.array([text for texts in firsts for text in texts])
        self._kinds: Final = np.array([kinds.index(second) for _, second in shapes], dtype=np.uint32)[drawn]
        self._seconds: Final = pa.array([text for kind in kinds for text in _fill(kind, _SECONDS, rng)])

    def draw(self, rng: np.random.Generator, count: int) -> pa.StringArray:
        """``count`` plates; of two million, some are duplicates."""
        firsts = rng.integers(0, _FIRSTS, count, dtype=np.uint16)
        seconds = self._kinds[firsts] * np.uint32(_SECONDS) + rng.integers(0, _SECONDS, count, dtype=np.uint32)
        first, second = self._firsts.take(pa.array(firsts)), self._seconds.take(pa.array(seconds))
        return pc.binary_join_element_wise(first, second, "")


def _fill(shape: str, count: int, rng: np.random.Generator) -> list[str]:
    marks: npt.NDArray[np.uint32] = np.empty((count, len(shape)), dtype=np.uint32)
    for at, mark in enumerate(shape):
        first, kinds = (ord("A"), 26) if mark == "A" else (ord("0"), 10)
        marks[:, at] = rng.integers(first, first + kinds, count)
    texts: list[str] = marks.view(f"U{len(shape)}").ravel().tolist()
    return texts
