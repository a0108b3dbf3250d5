"""The graph that reads messages and ticket history into the lake, and its command ``prestacop run``."""
