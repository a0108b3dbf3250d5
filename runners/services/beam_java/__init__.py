"""Beam's job servers in Java, which listen on this machine alone."""
