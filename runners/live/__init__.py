"""``make live``: a fleet that publishes, the graph that follows it, and what comes of it on one screen."""
