"""Drone health: events such as a silent drone, found in event time with Beam's state and timers.

rows of drones ─► Sample ──┐
pictures ───────► Sample ──┼─► Watch ─► events ─► Land: topic of alerts, drone_events/, memory
the lake's memory ► Recall ┘
"""
