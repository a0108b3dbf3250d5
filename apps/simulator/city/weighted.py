"""Weighted random draws that cost one table look-up each."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.uint32]


def quantile_table(weights: Sequence[float] | npt.NDArray[np.float64], size: int) -> Indices:
    """Indices into ``weights``, each in proportion to its weight, in ascending order; shape ``(size,)``.

    A uniform draw from the table is a weighted draw. A weight below half of 1/``size`` may not be in it.
    """
    cumulated = np.cumsum(np.asarray(weights, dtype=np.float64))
    quantiles = (np.arange(size) + 0.5) / size * cumulated[-1]
    found: Indices = np.searchsorted(cumulated, quantiles, side="right").astype(np.uint32)
    return found


def draw(rng: np.random.Generator, table: Indices, count: int) -> Indices:
    """``count`` weighted indices; shape ``(count,)``."""
    return table[rng.integers(0, len(table), count, dtype=np.uint32)]


def zipf(count: int, exponent: float) -> npt.NDArray[np.float64]:
    """Weights of a long tail: rank ``k`` weighs ``k ** -exponent``."""
    return np.arange(1, count + 1, dtype=np.float64) ** -exponent
