"""DoFns with a state per unit, from the unit's first batch to its last, within one bundle."""

from typing import Generic, TypeVar

import apache_beam as beam

from sources.units import UnitBatch

T = TypeVar("T")


class PerUnit(beam.DoFn, Generic[T]):  # type: ignore[misc]  # Beam's classes are untyped
    """Keeps a state for each unit that is being read in the bundle."""

    _open: dict[str, T]

    def start_bundle(self) -> None:
        self._open = {}

    def state_of(self, batch: UnitBatch, first: T) -> T:
        """The unit's state: ``first`` at its first batch; dropped after its last batch."""
        value = self._open.setdefault(batch.unit.name, first)
        if batch.last:
            del self._open[batch.unit.name]
        return value

    def finish_bundle(self) -> None:
        """Raises RuntimeError where the runner split a unit between bundles, which would lose rows."""
        if self._open:
            raise RuntimeError(
                f"the bundle ended inside the units {sorted(self._open)}: this runner does not fuse the steps from "
                "reading to writing; none of their rows is committed"
            )
