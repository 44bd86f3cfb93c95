"""All that subclasses or patches verl 0.9.1: trainer, agent loops, estimator, replay buffer, data sets."""
