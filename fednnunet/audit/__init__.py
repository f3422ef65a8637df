"""Attacks on what a site sends, run by the site on its own cases. The results stay there."""
