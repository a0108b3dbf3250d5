"""Applications around the graph: leaves that import :mod:`schemas` and nothing else of the project."""

from schemas.signals import end_while_loading

end_while_loading()
