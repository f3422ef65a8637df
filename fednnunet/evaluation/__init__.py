"""Metrics, their mergeable sums, tables and the report."""
