"""The batteries of a fleet: they lose capacity by age and by use.

The loss is the model of Schmalstieg, Käbitz, Ecker and Sauer, "A holistic aging model for Li(NiMnCo)O2 based 18650
lithium-ion batteries", Journal of Power Sources 257 (2014), 325-334, doi:10.1016/j.jpowsour.2014.02.012, of a cell of
2.15 Ah: by age alpha * t^0.75 (t in days), by use beta * Q^0.5 (Q in Ah, charged and discharged), with

    alpha = (7.543 V - 23.75) * 10^6 * exp(-6976 / T)
    beta  = 7.348e-3 * (V - 3.667)^2 + 7.6e-4 + 4.081e-3 * DOD

at V = 3.9 volts (mean of a battery that is mostly full), T = 298 kelvin and DOD = 0.88, the depth of discharge of a
flight. The model has no knee, and was fitted to cells that are charged and discharged within an hour; those of a drone
are discharged in half of that. No message has a temperature, so that here it never changes.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DISCHARGE_PCT_S: Final = 100 / 1800
"""Of a new battery in calm air, in percent of its capacity."""
CHARGE_PCT_S: Final = 100 / 900

_CELL_AH: Final = 2.15
_VOLTS: Final = 3.9
_KELVIN: Final = 298.15
_DEPTH: Final = 0.88
_BY_AGE: Final = float((7.543 * _VOLTS - 23.75) * 1e6 * np.exp(-6976 / _KELVIN))
_BY_USE: Final = 7.348e-3 * (_VOLTS - 3.667) ** 2 + 7.6e-4 + 4.081e-3 * _DEPTH
_DAY_S: Final = 86_400
_FLIGHTS_A_DAY: Final = 10
"""Of a battery that was used before it is simulated."""

_SPREAD: Final = 0.25
"""Of the speed at which batteries age: the standard deviation of its logarithm."""
_DRONES: Final = 0.03
"""The same of the power that drones take in calm air."""
_FLIGHTS: Final = 0.04
"""The same of flights of one drone."""
_CHARGERS: Final = 0.02
_CHARGES: Final = 0.015
_WEATHER: Final = 0.05
"""The same of the wind that all drones have."""
_WEATHER_S: Final = 6 * 3600
"""How long the wind remembers."""
_PARTIAL: Final = 0.2
"""Share of the charges that end early."""


class Batteries:
    """One battery a drone; arrays have the shape ``(drones,)``.

    Args:
        rng: of their own, so that the drones fly the same way.
        oldest_days: at the beginning batteries have been used for up to so many days, ten flights a day.
        ageing: how fast they age, relative to the model.
    """

    def __init__(self, rng: np.random.Generator, drones: int, oldest_days: float = 0.0, ageing: float = 1.0) -> None:
        self._rng = rng
        self._ageing = ageing
        self._days: Floats = rng.uniform(0, oldest_days, drones) if oldest_days else np.zeros(drones)
        self._ah: Floats = self._days * _FLIGHTS_A_DAY * _DEPTH * 2 * _CELL_AH
        self._speed: Floats = ageing * self._factors(_SPREAD, drones)
        self._drone: Floats = self._factors(_DRONES, drones)
        self._charger: Floats = self._factors(_CHARGERS, drones)
        self._flight: Floats = self._factors(_FLIGHTS, drones)
        self._charge: Floats = self._factors(_CHARGES, drones)
        self._weather = 0.0
        self.full_pct: Floats = np.full(drones, 98.0)
        """Where the present charge ends."""

    @property
    def capacity(self) -> Floats:
        """Relative to a new battery."""
        loss = _BY_AGE * self._days**0.75 + _BY_USE * np.sqrt(self._ah)
        return np.maximum(1 - self._speed * loss, 0.3)

    @property
    def discharge_pct_s(self) -> Floats:
        """How fast drones that fly now discharge, in percent of the present capacity a second."""
        return DISCHARGE_PCT_S * self._drone * self._flight * math.exp(self._weather) / self.capacity

    @property
    def charge_pct_s(self) -> Floats:
        """How fast drones that charge now do."""
        return CHARGE_PCT_S * self._charger * self._charge / self.capacity

    def flights_until(self, capacity: float) -> Floats:
        """Flights of 88 % until this capacity, by use alone; 0 where it is lower already."""
        by_use = (1 - capacity) / self._speed - _BY_AGE * self._days**0.75
        ah = (np.maximum(by_use, 0) / _BY_USE) ** 2 - self._ah
        return np.maximum(ah, 0) / (2 * _CELL_AH * _DEPTH * (1 + capacity) / 2)

    def step(self, seconds: float, change_pct: Floats) -> None:
        """Move on by ``seconds``, in which the charge changed by so many percent."""
        self._ah += np.abs(change_pct) / 100 * self.capacity * _CELL_AH
        self._days += seconds / _DAY_S
        share = min(seconds / _WEATHER_S, 1.0)
        self._weather += -self._weather * share + _WEATHER * math.sqrt(2 * share) * self._rng.normal()

    def take_off(self, drones: npt.NDArray[np.intp]) -> None:
        """A flight begins: some winds and loads take more power than others."""
        self._flight[drones] = self._factors(_FLIGHTS, len(drones))

    def land(self, drones: npt.NDArray[np.intp]) -> None:
        """A charge begins."""
        self._charge[drones] = self._factors(_CHARGES, len(drones))
        early = self._rng.random(len(drones)) < _PARTIAL
        self.full_pct[drones] = np.where(early, self._rng.uniform(70, 98, len(drones)), 98.0)

    def replace(self, drones: npt.NDArray[np.intp]) -> None:
        """Give drones new batteries."""
        self._days[drones] = self._ah[drones] = 0.0
        self._speed[drones] = self._ageing * self._factors(_SPREAD, len(drones))

    def _factors(self, spread: float, count: int) -> Floats:
        return np.exp(self._rng.normal(0, spread, count))
