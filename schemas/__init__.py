"""Wire formats, the names of rules and reasons, and the lake's Arrow schemas.

The modules that applications use (:mod:`schemas.messages`, :mod:`schemas.history`) import nothing
outside the standard library; only :mod:`schemas.lake` needs pyarrow.
"""
