"""A program that writes new packs, and the pack that they begin as."""
