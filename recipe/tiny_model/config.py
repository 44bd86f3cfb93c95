"""What decides the tiny model's weights, besides the pack."""

from __future__ import annotations

from dataclasses import dataclass, field

NUM_TOKENS = 256 + 3
"""Size of the vocabulary: every byte, and three markers (`recipe/tiny_model/tokenizer.py`)."""

HEAD_SIZE = 32
"""Width of one attention head: the smallest that vLLM's CPU attention takes."""

_COUNTS = (
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "max_positions",
    "steps",
    "batch_size",
    "num_processes",
)

_SHARES = ("propose_share", "worked_share", "last_worked_share", "last_part")


@dataclass(frozen=True, slots=True)
class TinyModelConfig:
    """Size, warm-up and seed. Every field is part of the cache key and an option of the command line."""

    hidden_size: int = field(default=128, metadata={"help": "width of the model, a multiple of 32"})
    intermediate_size: int = field(default=384, metadata={"help": "width inside each feed-forward block"})
    num_layers: int = field(default=3, metadata={"help": "number of transformer blocks"})
    max_positions: int = field(default=1024, metadata={"help": "longest prompt plus response, in bytes"})
    steps: int = field(default=1400, metadata={"help": "optimizer steps of the warm-up"})
    batch_size: int = field(default=64, metadata={"help": "transcripts in one optimizer step"})
    learning_rate: float = field(default=3e-3, metadata={"help": "peak learning rate of AdamW"})
    matrix_learning_rate: float = field(default=2e-2, metadata={"help": "peak learning rate of Muon"})
    rise_share: float = field(default=0.05, metadata={"help": "share of the steps in which the rate rises"})
    propose_share: float = field(default=0.12, metadata={"help": "share of proposer transcripts, 0 to 1"})
    worked_share: float = field(default=0.8, metadata={"help": "share of worked answers, at first, 0 to 1"})
    last_worked_share: float = field(default=0.25, metadata={"help": "the same in the last part, 0 to 1"})
    last_part: float = field(default=0.4, metadata={"help": "how much of the steps is the last part, 0 to 1"})
    seed: int = field(default=0, metadata={"help": "seed of the weights and of the transcripts"})
    num_processes: int = field(default=2, metadata={"help": "processes, a core each; part of the result"})

    def __post_init__(self) -> None:
        """Refuse values that fail later and less clearly.

        Raises:
            ValueError: A field is out of range; the message names it.
        """
        for name in _COUNTS:
            self._require(name, getattr(self, name) >= 1, "be 1 or more")
        self._require("hidden_size", self.hidden_size % HEAD_SIZE == 0, f"be a multiple of {HEAD_SIZE}")
        enough = self.batch_size >= self.num_processes
        self._require("batch_size", enough, f"be at least num_processes, which is {self.num_processes}")
        for name in ("learning_rate", "matrix_learning_rate"):
            self._require(name, getattr(self, name) > 0, "be above 0")
        self._require("rise_share", 0 <= self.rise_share < 1, "be at least 0 and below 1")
        for name in _SHARES:
            self._require(name, 0 <= getattr(self, name) <= 1, "be between 0 and 1")

    def sizes(self) -> dict[str, int | bool]:
        """What the model's config.json says of its architecture, that of Qwen2."""
        num_heads = self.hidden_size // HEAD_SIZE
        return {
            "vocab_size": NUM_TOKENS,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": num_heads,
            "num_key_value_heads": num_heads,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": True,
        }

    def _require(self, name: str, holds: bool, condition: str) -> None:
        if not holds:
            raise ValueError(f"TinyModelConfig.{name} must {condition}; got {getattr(self, name)!r}")
