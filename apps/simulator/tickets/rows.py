"""Clean rows of the ticket CSV, a chunk at a time, with their truth as columns."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from apps.simulator.city import tickets as city
from apps.simulator.city.plates import Plates
from apps.simulator.city.weighted import Indices, draw, quantile_table
from apps.simulator.tickets.clock import DAY_MINUTES, utc_table
from apps.simulator.tickets.fragments import SIZE, Fragments, description
from schemas.history import COLUMNS_34

_NOON: Final = 12
# The step has no factor in common with the count: the numbers of that many records are all different.
_SUMMONS_FIRST: Final = 1_300_000_000
_SUMMONS_COUNT: Final = 6_799_999_999
_SUMMONS_STEP: Final = 1_327_217_885


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """``n`` clean rows: ``rows`` are their lines, terminator included, the others their truth, each of length ``n``.

    ``days`` are indices into ``city.FISCAL_DAYS``, ``minutes`` minutes of that day, ``utc`` minutes since 1970,
    ``dst`` indices into ``clock.REPAIRS``.
    """

    first: int
    rows: pa.StringArray
    summons: npt.NDArray[np.int64]
    plates: pa.StringArray
    days: Indices
    minutes: Indices
    utc: npt.NDArray[np.int64]
    dst: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.int16]
    counties: pa.StringArray
    streets: pa.StringArray


class RowMaker:
    """Makes chunks of rows; holds the tables they are drawn from, and may be used by several threads at once."""

    def __init__(self, *, columns: int, terminator: str, seed: int) -> None:
        """``columns`` is 34, 43 or 51."""
        self._columns = columns
        self._terminator = terminator
        self._seed = seed
        self._summons_offset = int(np.random.default_rng(seed).integers(_SUMMONS_COUNT))
        self._fragments = Fragments()

        self._days = quantile_table(city.day_weights(), SIZE)
        self._day_texts = pa.array([day.strftime("%m/%d/%Y") for day in city.FISCAL_DAYS])
        self._utc, self._dst = utc_table(city.FISCAL_DAYS)

        # Midnight's hour is written both as 00xxA and as 12xxA, so its minutes are in the list twice.
        minutes = [*range(DAY_MINUTES), *range(60)]
        self._minutes = np.array(minutes, dtype=np.uint32)
        self._times = quantile_table(_minute_weights(), SIZE)
        midnight = [f"12{minute:02d}A" for minute in range(60)]
        self._time_texts = pa.array([*map(time_text, range(DAY_MINUTES)), *midnight])

        codes = city.code_weights()
        self._codes = quantile_table(list(codes.values()), SIZE)
        self._code_numbers = np.array(list(codes), dtype=np.int16)
        self._code_texts = pa.array([str(code) for code in codes])
        empty = "," * (columns - 40) + terminator
        self._tails = pa.array([description(code, ticket) + empty for code in codes for ticket in range(9)])

        self._counties = pa.array(city.COUNTIES)
        self._streets = quantile_table(city.street_weights(), 2**21)
        self._street_texts = pa.array(city.street_names())
        self._plates = Plates()

    def chunk(self, first: int, count: int) -> Chunk:
        """Records ``first`` to ``first + count - 1``; the same for the same seed, whatever was made before."""
        rng = np.random.default_rng((self._seed, first))
        pools = self._fragments

        records = np.arange(first, first + count, dtype=np.int64)
        summons = _SUMMONS_FIRST + (records * _SUMMONS_STEP + self._summons_offset) % _SUMMONS_COUNT
        plates = self._plates.draw(rng, count)
        days = draw(rng, self._days, count)
        times = draw(rng, self._times, count)
        minutes = self._minutes[times]
        moments = days * np.uint32(DAY_MINUTES) + minutes
        codes = draw(rng, self._codes, count)
        vehicles = rng.integers(0, SIZE, count, dtype=np.uint16)
        beats = rng.integers(0, SIZE, count, dtype=np.uint16)
        counties = _take(self._counties, pools.beat_county[beats])
        streets = _take(self._street_texts, draw(rng, self._streets, count))

        def other(pool: pa.StringArray) -> pa.StringArray:
            return _take(pool, rng.integers(0, SIZE, count, dtype=np.uint16))

        parts = [
            pa.array(summons).cast(pa.string()),
            plates,
            _take(pools.vehicle_plate, vehicles),
            _take(self._day_texts, days),
            _take(self._code_texts, codes),
            _take(pools.vehicle_make, vehicles),
            _take(pools.beat, beats),
            _take(self._time_texts, times),
            other(pools.first_observed),
            counties,
            other(pools.house),
            streets,
            other(pools.sign),
            _take(pools.vehicle_colour, vehicles),
        ]
        if self._columns > len(COLUMNS_34):
            tails = codes * np.uint32(9) + (records % 9).astype(np.uint32)
            parts += [_take(pools.vehicle_year, vehicles), other(pools.meter), _take(self._tails, tails)]
            rows = pc.binary_join_element_wise(*parts, ",")
        else:
            rows = pc.binary_join_element_wise(pc.binary_join_element_wise(*parts, ","), self._terminator, "")
        return Chunk(
            first=first,
            rows=rows,
            summons=summons,
            plates=plates,
            days=days,
            minutes=minutes,
            utc=self._utc[moments],
            dst=self._dst[moments],
            codes=self._code_numbers[codes],
            counties=counties,
            streets=streets,
        )


def time_text(minute: int) -> str:
    """A minute of the day as the city writes it: 0 is ``0000A``, 90 is ``0130A``, 720 is ``1200P``."""
    hour, minute = divmod(minute, 60)
    return f"{hour - 12 * (hour > _NOON):02d}{minute:02d}{'A' if hour < _NOON else 'P'}"


def _minute_weights() -> list[float]:
    hours = city.hour_weights()
    hours[0] /= 2
    return [hours[minute // 60] for minute in [*range(DAY_MINUTES), *range(60)]]


def _take(pool: pa.StringArray, indices: npt.NDArray[Any]) -> pa.StringArray:
    return pool.take(pa.array(indices))
