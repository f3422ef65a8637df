"""Secure aggregation after Bonawitz et al. 2017: the mathematics, without messages or networks."""
