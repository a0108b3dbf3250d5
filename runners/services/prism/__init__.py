"""Prism, Beam's runner for one machine, built so that nobody reaches it from elsewhere."""
