"""What the pack can be set to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.kit.knobs import ProgramKnobs, check_bool, check_choice, check_choices, check_count
from tasks.kit.response import Tags
from tasks.python_code.records import ABDUCTION, DEDUCTION, INDUCTION, KINDS

MAX_PROGRAM_CHARS = 20_000
MAX_LITERAL_CHARS = 4_000  # Python writes no integer of more than 4,300 digits
LAST_STEP = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PythonCodeKnobs(ProgramKnobs):
    """Knobs of `PythonCodePack`."""

    time_limit_s: float = 1.0
    """CPU seconds of one call, 0.05 to 60. All calls of an attempt together have four times that, those of a
    proposal half of it."""

    kinds: Sequence[str] = (DEDUCTION, ABDUCTION, INDUCTION)
    """Kinds of task that are on, of deduction, abduction, induction and error."""

    num_references: int = 6
    """Earlier tasks in a proposer's prompt, 0 to 64; 0 shows none. An induction proposal is about one earlier
    program in any case; a terse prompt shows one at most."""

    num_inputs: int = 10
    """Inputs of an induction task, 2 to 64; half of them are hidden from the solver. A terse one has 6."""

    tags: str = "think_answer"
    """What a response is wrapped in: think_answer, answer or none."""

    keep_comments: bool = True
    """Keep comments and docstrings in stored programs."""

    keep_globals: bool = True
    """Keep module-level statements besides imports, functions and classes."""

    max_program_chars: int = 4000
    """Longest program of a proposal, 64 to 20,000 characters."""

    max_literal_chars: int = 1000
    """Longest input and output of a proposal, 16 to 4,000 characters; nothing is cut to fit."""

    strict_equality: bool = False
    """Tell `1`, `1.0` and `True` apart when answers are compared."""

    composite_share: float = 0.0
    """Share of the proposals with references that have to call the programs of some of them, 0 to 1."""

    composite_max: int = 2
    """Most programs that such a proposal has to call, 1 to 8."""

    composite_from_step: int = 0
    """Training step up to which there are none; from there share and number grow in a straight line."""

    composite_until_step: int = 0
    """Training step from which share and number are as given; 0 is the seeding."""

    seed_path: str | None = None
    """A file of tasks to start from; null starts from the identity function."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices("kinds", self.kinds, KINDS)
        check_count("num_references", self.num_references, 0, 64)
        check_count("num_inputs", self.num_inputs, 2, 64)
        check_choice("tags", self.tags, list(Tags))
        check_bool("keep_comments", self.keep_comments)
        check_bool("keep_globals", self.keep_globals)
        check_count("max_program_chars", self.max_program_chars, 64, MAX_PROGRAM_CHARS)
        check_count("max_literal_chars", self.max_literal_chars, 16, MAX_LITERAL_CHARS)
        check_bool("strict_equality", self.strict_equality)
        share = self.composite_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"pack.composite_share must be a number from 0 to 1; got {share!r}")
        check_count("composite_max", self.composite_max, 1, 8)
        check_count("composite_from_step", self.composite_from_step, 0, LAST_STEP)
        check_count("composite_until_step", self.composite_until_step, self.composite_from_step, LAST_STEP)
        if share and (self.terse or self.num_references == 0):
            raise ValueError(
                f"pack.composite_share must be 0 with terse prompts or without references; got {share!r}"
            )
