"""The veRL side of Absolute Zero self-play: entry point, trainer hooks, agent loops, estimator."""
