"""The exporter: metrics of a lake and of its topics for Prometheus, whatever runner fills the lake."""
