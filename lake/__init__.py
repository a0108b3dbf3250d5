"""The lake: the layout of its files, their schemas, atomic writes, and the reader.

>>> from lake import lake
>>> lake("data/lake").sql("SELECT count(*) FROM qualified")  # doctest: +SKIP
"""

from lake.reader import Lake, filled_lake, lake

__all__ = ["Lake", "filled_lake", "lake"]
