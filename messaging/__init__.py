"""Clients of Kafka and Google Cloud Pub/Sub: topic URLs, producers, consumers, and one translation of their errors."""
