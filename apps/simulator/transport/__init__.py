"""Where a made-up fleet publishes, and how commands reach it."""
