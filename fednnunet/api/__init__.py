"""What the package offers to Python programs; each command calls the verb of its name."""
