"""Nothing is lost and nothing doubled, whatever is killed."""
