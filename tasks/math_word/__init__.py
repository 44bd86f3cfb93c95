"""Word problems whose answer is a number that a program computes."""

from tasks.math_word.pack import MathWordPack

__all__ = ["MathWordPack"]
