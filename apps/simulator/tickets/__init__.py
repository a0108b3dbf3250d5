"""A made-up ticket CSV with its truth."""
