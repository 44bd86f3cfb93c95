"""Outcome to number: pure functions, standard library only, one equation each."""
