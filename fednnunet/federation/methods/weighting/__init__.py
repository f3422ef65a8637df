"""Rules of aggregation weights: one file a rule; the catalogue names them."""
