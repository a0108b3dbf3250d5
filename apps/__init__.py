"""Applications around the graph: leaves that import :mod:`schemas` and nothing else of the project."""
