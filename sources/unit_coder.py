"""How an element of the graph goes from one worker to another. Importing this registers the coder."""

import io
import json
from dataclasses import asdict

import pyarrow as pa
from apache_beam import coders
from apache_beam.coders import typecoders

from schemas.lake import Source
from sources.units import Unit, UnitBatch


class UnitBatchCoder(coders.Coder):  # type: ignore[misc]  # Beam's classes are untyped
    """Arrow IPC: the default coder pickles a slice together with its whole parent (12.8 kB a row against 101 B)."""

    def encode(self, value: UnitBatch) -> bytes:
        head = json.dumps(
            {**asdict(value.unit), "last": value.last, "part": value.part, "erased": value.erased}
        ).encode()
        sink = io.BytesIO()
        sink.write(len(head).to_bytes(4, "little"))
        sink.write(head)
        with pa.ipc.new_stream(sink, value.rows.schema) as writer:
            writer.write_batch(value.rows)
        return sink.getvalue()

    def decode(self, encoded: bytes) -> UnitBatch:
        size = int.from_bytes(encoded[:4], "little")
        head = json.loads(encoded[4 : 4 + size])
        last, part, erased = head.pop("last"), head.pop("part"), head.pop("erased")
        head["source"] = Source(head["source"])
        head["columns"] = tuple(head["columns"])
        with pa.ipc.open_stream(pa.py_buffer(encoded)[4 + size :]) as reader:
            return UnitBatch(Unit(**head), reader.read_next_batch(), last, part, erased)

    def is_deterministic(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


typecoders.registry.register_coder(UnitBatch, UnitBatchCoder)
