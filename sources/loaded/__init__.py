"""Sources of files that the loader shipped in pieces through a topic."""
