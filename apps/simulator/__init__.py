"""Generate input of any size, with the expected results: the city's ticket CSV, and drone messages."""
