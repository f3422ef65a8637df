"""What weak labels teach: boxes, scribbles, points, presence in the image, or nothing."""
