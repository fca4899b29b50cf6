"""From what an old node was asked for to what the core does."""
