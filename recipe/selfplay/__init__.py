"""The algorithm: what is asked, what a response is worth, what is kept; no verl, ray, torch or hydra."""
