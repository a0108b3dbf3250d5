"""Sources of streams: Kafka and Pub/Sub, read in planned units of work."""
