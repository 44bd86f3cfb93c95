"""Primes and inverses, for moduli below 10,000."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, isqrt


def is_prime(number: int) -> bool:
    """Whether `number` is a prime."""
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def primes_between(lowest: int, highest: int) -> list[int]:
    """The primes from `lowest` to `highest`, both included, rising."""
    return [number for number in range(lowest, highest + 1) if is_prime(number)]


def solving_primes(pairs: Sequence[tuple[int, int]], above: int, limit: int) -> list[int]:
    """The primes p with `above` < p <= `limit` and x * y = 1 (mod p) for all pairs, rising."""
    common = gcd(*(x * y - 1 for x, y in pairs))
    divisors = (number for number in range(above + 1, limit + 1) if common % number == 0)
    return [number for number in divisors if is_prime(number)]
