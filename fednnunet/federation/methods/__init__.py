"""One file a method, both halves in it; the catalogue names them."""
