"""The graphs, and the commands that run them."""
