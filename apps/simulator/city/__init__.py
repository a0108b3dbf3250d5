"""The simulated city: its tickets, streets and licence plates."""
