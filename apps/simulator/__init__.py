"""Make input of any size together with the known truth: the city's ticket CSV, and drone messages."""
