"""The tiny base model: what stands for "a pretrained model" where nothing larger can run.

Self-play starts from a model that can already speak both roles. On a CPU that model is this one: a byte-level
Qwen2 of 0.67 million parameters, trained for a few minutes on correct transcripts of a pack's tasks. It
uses torch and transformers only, never verl, so it can be built before anything else is started.
"""

from recipe.tiny_model.config import TinyModelConfig

__all__ = ["TinyModelConfig"]
