"""The metrics of a lake and of its topics, whatever runner fills the lake."""
