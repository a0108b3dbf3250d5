"""Applications around the graph: leaves that import the contracts and clients of the project and nothing of the graph."""

from terminal.signals import end_while_loading

end_while_loading()
