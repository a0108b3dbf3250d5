"""Applications around the graph: leaves that import contracts and clients, and nothing of the graph."""

from terminal.signals import end_while_loading

end_while_loading()
