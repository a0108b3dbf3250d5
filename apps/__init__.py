"""Applications around the graph: leaves that import :mod:`schemas` and nothing else of the project."""

from terminal.signals import end_while_loading

end_while_loading()
