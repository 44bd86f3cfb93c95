"""Whole-number arithmetic: deduction, abduction and induction with small numbers."""

from tasks.arithmetic.pack import ArithmeticPack

__all__ = ["ArithmeticPack"]
