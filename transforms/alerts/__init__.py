"""Alerts: which violations need an officer, and the channels that carry them."""
