"""Two task packs in one distribution: sums, and numbers in binary by majority."""

from .pack import SumsPack
from .votes import VotesPack

__all__ = ["SumsPack", "VotesPack"]
