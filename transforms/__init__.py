"""Transforms: for each a plain function over a RecordBatch first, then a thin PTransform around it."""
