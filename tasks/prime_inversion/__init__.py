"""Inverses modulo a prime: x * y = 1 (mod p), with x, y or p to be found."""

from tasks.prime_inversion.pack import PrimeInversionPack

__all__ = ["PrimeInversionPack"]
