"""Windows over the stream, and the counts of each pane."""
