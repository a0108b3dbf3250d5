"""``prestacop live``: a fleet that publishes, the graph that reads its messages, and the metrics on one screen."""
