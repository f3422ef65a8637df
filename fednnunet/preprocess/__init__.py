"""From a case on disk to what training reads: cropped, normalised, resampled. No torch."""
