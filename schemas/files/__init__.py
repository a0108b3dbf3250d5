"""Files by their first bytes, their names and their quotes: what sources and the loader both have to know."""
