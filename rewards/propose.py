"""What a valid proposal is worth: the one equation of the proposer's reward.

It knows the solve rate and nothing else. Which proposals are valid is a pack's business, and what an invalid
one costs is in `rewards/profile.py`.
"""

from __future__ import annotations


def learnability(solve_rate: float) -> float:
    """0 if the task is always or never solved, else 1 - solve_rate.

    Absolute Zero (https://arxiv.org/abs/2505.03335), the proposer's reward r_propose. It is largest for the
    hardest task that is still solved at times: with 8 attempts that is 7/8, at one success, not at one half.

    Args:
        solve_rate: Share of correct attempts at the proposed task, in [0, 1].

    Returns:
        A number in [0, 1).

    Raises:
        ValueError: `solve_rate` is outside [0, 1] or not a number.
    """
    if not 0.0 <= solve_rate <= 1.0:
        raise ValueError(f"solve_rate must be in [0, 1]; got {solve_rate!r}")
    if solve_rate in (0.0, 1.0):
        return 0.0
    return 1.0 - solve_rate
