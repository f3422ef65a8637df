"""How good masks are, and how that is shown."""
