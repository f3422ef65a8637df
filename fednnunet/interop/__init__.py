"""Plans and case lists of nnU-Net v2."""
