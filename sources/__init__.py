"""Sources: each plans units of work and gives their rows as Arrow RecordBatches of what came in."""
