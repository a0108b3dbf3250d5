"""From payloads of drones and officers to typed columns."""
