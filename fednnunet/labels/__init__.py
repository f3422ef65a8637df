"""Kinds of labels in training: their losses, and pseudo-labels where a class is unknown."""
