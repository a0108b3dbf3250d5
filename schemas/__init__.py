"""Wire formats, the names of rules and reasons, and the lake's Arrow schemas.

Applications use all of these modules but :mod:`schemas.lake`, the only one that needs pyarrow.
"""
