"""The cells of the city are those of the numbers as they are written."""

from decimal import ROUND_FLOOR, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.messages.rows import city_cells


def cell(latitude: str, longitude: str) -> str:
    """The name of the cell of a position."""
    name: str = city_cells(np.array([float(latitude)]), np.array([float(longitude)]))[0].as_py()
    return name


def corner(text: str) -> str:
    """In decimal numbers, of which none is lost."""
    return f"{Decimal(text).quantize(Decimal('0.01'), ROUND_FLOOR) + 0:.2f}"


@pytest.mark.parametrize("hundredths", range(4048, 4108))
def test_two_decimals_are_the_corner_of_their_own_cell(hundredths: int) -> None:
    latitude, longitude = f"{hundredths / 100:.2f}", f"-{(hundredths + 3350) / 100:.2f}"
    assert cell(latitude, longitude) == f"{latitude},{longitude}"


DEGREES = st.decimals(-90, 90, places=2) | st.decimals(-90, 90, places=7) | st.decimals(-90, 90, places=12)


@given(DEGREES, DEGREES)
def test_a_cell_is_that_of_the_decimal_text(latitude: Decimal, longitude: Decimal) -> None:
    south, west = f"{latitude:f}", f"{longitude:f}"
    assert cell(south, west) == f"{corner(south)},{corner(west)}"
