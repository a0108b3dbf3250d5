"""Sources of files: ticket history as CSV, and recorded messages."""
