"""A run's folder: its files, its checkpoints and its progress bar. Imports nothing else of this project."""
