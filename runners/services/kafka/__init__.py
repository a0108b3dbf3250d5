"""Kafka: the jars of its broker from a Maven repository, and how they are run."""
