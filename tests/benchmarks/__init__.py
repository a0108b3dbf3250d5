"""What the pipeline is measured against: the same job, as well as it can be done without it."""
