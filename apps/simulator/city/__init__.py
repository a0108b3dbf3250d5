"""What the made-up city looks like: its tickets, streets and licence plates."""
