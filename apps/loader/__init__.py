"""The loader: sends the city's files of tickets from an old, weak computer to where the graph reads them."""
