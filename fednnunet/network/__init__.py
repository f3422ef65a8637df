"""From an architecture to a torch module: plain and residual-encoder U-Nets."""
