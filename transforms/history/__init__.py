"""From the lines of the city's ticket CSV to typed columns."""
