"""Training at one site: patches, augmentation, losses, schedule, loop and state."""
