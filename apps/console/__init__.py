"""The officer's console: alerts in, signed answers out, and the live page."""
