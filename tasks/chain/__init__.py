"""Running sums modulo 10, of which every step is judged: how long a chain is says how hard it is."""

from tasks.chain.pack import ChainPack

__all__ = ["ChainPack"]
