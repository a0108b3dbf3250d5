"""The loader: ships the city's ticket files from an old, weak computer to a place that the graph reads."""
