"""A fleet of drones over New York: where each one is, and how full its battery is."""

from typing import Final

import numpy as np
import numpy.typing as npt

from apps.simulator.fleet.battery import Batteries, Floats

BEATS: Final = (
    (40.722, 40.738, -74.004, -73.982, 0.14),
    (40.748, 40.765, -73.992, -73.972, 0.17),
    (40.800, 40.815, -73.955, -73.940, 0.10),
    (40.640, 40.685, -73.980, -73.920, 0.16),
    (40.600, 40.625, -73.995, -73.945, 0.08),
    (40.700, 40.750, -73.890, -73.800, 0.13),
    (40.690, 40.730, -73.795, -73.740, 0.08),
    (40.840, 40.870, -73.915, -73.870, 0.11),
    (40.560, 40.610, -74.160, -74.110, 0.03),
)
"""Where drones fly: south, north, west and east edges in degrees, and the share of the fleet.

Three beats are in Manhattan, two each in Brooklyn and Queens, one each in the Bronx and on Staten Island. Each is a
rectangle of dry land, so that a straight way between two of its points stays in it."""

SLOWEST_M_S: Final = 5.0
FASTEST_M_S: Final = 15.0

_METRES_A_DEGREE: Final = 111_320.0
_LONGITUDE: Final = np.cos(np.radians(40.7))
_RESERVE_PCT: Final = 10.0
_PATROL, _RETURN, _CHARGE, _HOLD = range(4)


class Fleet:
    """The state of all drones as columns; arrays have the shape ``(drones,)``.

    A drone flies from one random point of its beat to the next, returns to its dock while the battery still lasts for
    the way, charges there, rests, and flies again. One that is ordered to hold stays where it is until its battery is
    low; one that is ordered to return stays in its dock. A drone in its dock holds there.

    Args:
        batteries: those of the drones; None for new ones.
        rest_s: how long a charged drone rests on average, in seconds.
    """

    def __init__(
        self, rng: np.random.Generator, drones: int, batteries: Batteries | None = None, rest_s: float = 0.0
    ) -> None:
        self._rng = rng
        self._rest_s = rest_s
        self.batteries = batteries or Batteries(np.random.default_rng(drones), drones)
        beats = np.array(BEATS)
        self._beat = beats[rng.choice(len(beats), drones, p=beats[:, 4] / beats[:, 4].sum())]
        everyone = np.arange(drones)
        self._dock = self._points(everyone)
        self._goal = self._points(everyone)
        self._state = np.full(drones, _PATROL)
        self._speed = self._speeds(drones)
        self._height = rng.uniform(30, 110, drones)
        self.position = self._points(everyone)
        """Latitude and longitude in degrees; shape ``(drones, 2)``."""
        self.battery_pct: Floats = rng.uniform(30, 100, drones)
        self.silent = np.zeros(drones, bool)
        """Which drones report no violations any more."""
        self._grounded = np.zeros(drones, bool)
        self.drain: Floats = np.ones(drones)
        """How many times faster than usual each battery loses its charge."""

    @property
    def altitude_m(self) -> Floats:
        """Height above the ground in metres, 0 in the dock."""
        return np.where(self._state == _CHARGE, 0.0, self._height + self._rng.normal(0, 0.5, len(self._height)))

    def hold(self, drone: int) -> None:
        """Order a drone to stay where it is."""
        self.silent[drone] = False
        self._grounded[drone] = self._state[drone] == _CHARGE
        if not self._grounded[drone]:
            self._state[drone] = _HOLD

    def recall(self, drone: int) -> None:
        """Order a drone to fly to its dock, to stay there, and to report no more violations."""
        self.silent[drone] = self._grounded[drone] = True
        if self._state[drone] != _CHARGE:
            self._go_home(np.array([drone]))

    def step(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        way = (self._goal - self.position) * (_METRES_A_DEGREE, _METRES_A_DEGREE * _LONGITUDE)
        distance = np.hypot(way[:, 0], way[:, 1])
        charging = self._state == _CHARGE
        still = charging | (self._state == _HOLD)
        reach = np.where(still, 0.0, self._speed * seconds)
        arrived = reach >= distance
        share = np.divide(reach, distance, out=np.ones_like(reach), where=~arrived)
        # A new array each time: callers keep the old one.
        self.position = self.position + (self._goal - self.position) * np.where(still, 0.0, share)[:, None]

        before = self.battery_pct
        batteries = self.batteries
        change = np.where(charging, batteries.charge_pct_s, -batteries.discharge_pct_s * self.drain) * seconds
        # A charge that ended early is not resumed, and nothing is lost by a rest.
        most = np.where(charging & ~self._grounded, np.maximum(batteries.full_pct, before), 100.0)
        self.battery_pct = np.clip(before + change, 0.0, most)
        batteries.step(seconds, self.battery_pct - before)

        self._arrive(np.flatnonzero(arrived & ~still))
        self._take_off(np.flatnonzero(charging & (self.battery_pct >= batteries.full_pct) & ~self._grounded), seconds)
        self._turn_back()

    def _arrive(self, drones: npt.NDArray[np.intp]) -> None:
        home = self._state[drones] == _RETURN
        self._state[drones[home]] = _CHARGE
        self.batteries.land(drones[home])
        self._wander(drones[~home])

    def _take_off(self, drones: npt.NDArray[np.intp], seconds: float) -> None:
        if self._rest_s:
            drones = drones[self._rng.random(len(drones)) < seconds / self._rest_s]
        self.batteries.take_off(drones)
        self._state[drones] = _PATROL
        self._wander(drones)

    def _wander(self, drones: npt.NDArray[np.intp]) -> None:
        self._goal[drones] = self._points(drones)
        self._speed[drones] = self._speeds(len(drones))

    def _turn_back(self) -> None:
        home = (self._dock - self.position) * (_METRES_A_DEGREE, _METRES_A_DEGREE * _LONGITUDE)
        needed = np.hypot(home[:, 0], home[:, 1]) / FASTEST_M_S * self.batteries.discharge_pct_s
        away = (self._state == _PATROL) | (self._state == _HOLD)
        self._go_home(np.flatnonzero(away & (self.battery_pct < needed + _RESERVE_PCT)))

    def _go_home(self, drones: npt.NDArray[np.intp]) -> None:
        self._state[drones] = _RETURN
        self._goal[drones] = self._dock[drones]
        self._speed[drones] = FASTEST_M_S

    def _points(self, drones: npt.NDArray[np.intp]) -> Floats:
        south, north, west, east, _ = self._beat[drones].T
        return np.column_stack([self._rng.uniform(south, north), self._rng.uniform(west, east)])

    def _speeds(self, count: int) -> Floats:
        return self._rng.uniform(SLOWEST_M_S, FASTEST_M_S, count)
