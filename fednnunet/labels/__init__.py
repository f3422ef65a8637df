"""What weak labels teach, each kind by its loss, and pseudo-labels where a class is unknown."""
