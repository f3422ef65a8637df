"""Sliding window, export to the native grid, and bundles."""
