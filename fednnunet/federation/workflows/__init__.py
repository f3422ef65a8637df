"""From a federation file to a plan, and from a plan to models and scores."""
