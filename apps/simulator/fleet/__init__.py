"""The messages of a simulated fleet of drones, with the expected results."""
