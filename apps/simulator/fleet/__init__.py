"""The messages of a made-up fleet of drones with their truth."""
