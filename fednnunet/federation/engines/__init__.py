"""Ways to reach sites: in this process, or over a network."""
