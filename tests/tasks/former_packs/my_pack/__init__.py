"""The task pack my_pack."""

from .pack import MyPack

__all__ = ["MyPack"]
