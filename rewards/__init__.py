"""Outcome to number: pure functions, one equation each; `verl_reward.py` carries them into veRL."""
