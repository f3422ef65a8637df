"""What a site runs between two rounds: patches, augmentation, losses, schedule, loop, state."""
