"""A plan's architecture as a torch module."""
