"""Pub/Sub: a server in Go around the fake of Google's own client, and how it is run."""
