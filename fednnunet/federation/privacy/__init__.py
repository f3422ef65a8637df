"""Differential privacy of what sites send: settings, accountant, and what it excludes."""
