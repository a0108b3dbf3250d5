"""The graph that answers the city's questions over the lake, and its reports."""
