"""Federated nnU-Net: hospitals share sums, never cases."""
