"""DoFns that gather a unit's batches: what they keep lives from a unit's first batch to its last, within one bundle."""

from typing import Generic, TypeVar

import apache_beam as beam

from sources.units import UnitBatch

T = TypeVar("T")


class PerUnit(beam.DoFn, Generic[T]):  # type: ignore[misc]  # Beam's classes are untyped
    """Keeps a value for each unit that is under way in the bundle."""

    _open: dict[str, T]

    def start_bundle(self) -> None:
        self._open = {}

    def kept(self, batch: UnitBatch, first: T) -> T:
        """The unit's value, ``first`` at its first batch; after its last batch it is forgotten."""
        value = self._open.setdefault(batch.unit.name, first)
        if batch.last:
            del self._open[batch.unit.name]
        return value

    def finish_bundle(self) -> None:
        """Raises RuntimeError where the runner cut a unit in two, which would lose rows."""
        if self._open:
            raise RuntimeError(
                f"the bundle ended inside the units {sorted(self._open)}: this runner does not fuse the steps from "
                "reading to writing; nothing of them is committed"
            )
