"""Self-play inside verl 0.9.1: trainer, agent loops, estimator, replay buffer, data sets, their driver."""
