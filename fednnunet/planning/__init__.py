"""From additive statistics to a plan. Pure: no torch, no disk but JSON."""
