"""The lake: where its files lie, what they hold, how they are written whole, and how they are read.

>>> from lake import lake
>>> lake("data/lake").sql("SELECT count(*) FROM qualified")  # doctest: +SKIP
"""

from lake.reader import Lake, filled_lake, lake

__all__ = ["Lake", "filled_lake", "lake"]
