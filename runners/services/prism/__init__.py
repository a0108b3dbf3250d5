"""Prism, Beam's runner for one machine, built so that it listens on 127.0.0.1 alone."""
