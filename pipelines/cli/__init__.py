"""What every pipeline command shares: its options, the runner it uses, and how it ends."""
