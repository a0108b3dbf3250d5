"""Metrics for Prometheus: what a metric is, the server of the pages, and the metrics of a lake and its topics."""
