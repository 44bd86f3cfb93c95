"""A reward function for any trainer of verl: `reward.custom_reward_function.path=pkg://rewards.verl_reward`.

verl's reward workers import this module and await `compute_score` for every response. It reads the columns
that `python -m tasks.export` writes (docs/verl_parts.md), and judges and prices as self-play does.

What does not come from the response is no reward. A sandbox that broke, or a pack that breaks its contract,
raises; verl then logs the error and leaves the response out.
"""

from __future__ import annotations

import functools
import json
import os
import random
import reprlib
import sys
from collections.abc import Mapping
from typing import Any

from rewards.profile import PROFILES, Profile, missing_measure, price_attempt
from tasks.contract import Outcome, TaskPack, TaskRecord
from tasks.guard import GuardedPack, PackError, ThreadWatch
from tasks.kit.parsing import up_to_stop
from tasks.registry import load_pack

_KWARGS = "reward.custom_reward_function.reward_kwargs"

# For the profile `random`. verl asks in no fixed order, so that a seed would repeat nothing.
_DRAWS = random.SystemRandom()


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    profile: str = "paper",
    deadline_s: float = 3600.0,
    reward_router_address: str | None = None,
    reward_model_tokenizer: object = None,
) -> dict[str, float | str]:
    """Judge one response by its pack and price it as a solver's attempt.

    Args:
        data_source: Name of the pack, with its default knobs where `extra_info` has no configuration.
        solution_str: The response as text, without special tokens.
        ground_truth: The `TaskRecord` as JSON.
        extra_info: Of the row; read is `pack`, the pack's configuration as JSON, with its `_target_`.
        profile: Name of a reward profile (docs/rewards.md).
        deadline_s: Seconds that judging may take, waiting for a sandbox included.
        reward_router_address: Not read: verl gives it where there is a reward model.
        reward_model_tokenizer: The same.

    Returns:
        `score`, the reward; `acc`, 1 for a right answer and else 0; `outcome`, its name.

    Raises:
        ValueError: There is no such pack, kind or profile, the pack lacks the measure that the profile grades
            by, or `ground_truth` is no record.
        CheckBrokenError: What the pack checks with broke.
        PackError: The pack broke its contract, or took longer than `deadline_s`.
    """
    pack = _build_pack((extra_info or {}).get("pack") or json.dumps(data_source), deadline_s)
    prices = _find_prices(profile, pack)
    record = _read_record(ground_truth)
    pack.spec(record.kind)
    # verl gives vLLM no stop strings, so a model may go on behind its answer, and give another.
    verdict = await pack.judge(record, up_to_stop(solution_str, pack.stop_strings))
    return {
        "score": price_attempt(prices, verdict.outcome, _DRAWS, verdict.measures),
        "acc": float(verdict.outcome is Outcome.CORRECT),
        "outcome": verdict.outcome.value,
    }


@functools.cache
def _build_pack(config_json: str, deadline_s: float) -> TaskPack:
    """The pack, one a process and configuration."""
    return GuardedPack(load_pack(json.loads(config_json)), deadline_s, watch=ThreadWatch(deadline_s, _end))


def _end(error: PackError) -> None:
    """End this worker: a call that never gives way to the event loop would hold it, and the run, for ever."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(1)


@functools.cache
def _find_prices(name: str, pack: TaskPack) -> Profile:
    if name not in PROFILES:
        raise ValueError(f"{_KWARGS}.profile must be one of {', '.join(sorted(PROFILES))}; got {name!r}")
    profile = PROFILES[name]
    if measure := missing_measure(profile, pack.measure_names):
        raise ValueError(
            f"{_KWARGS}.profile={name} grades wrong attempts by {measure}, which the pack {pack.name} "
            f"does not measure (it has {', '.join(pack.measure_names) or 'none'})"
        )
    return profile


def _read_record(ground_truth: str) -> TaskRecord:
    try:
        return TaskRecord.from_json(ground_truth)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            "reward_model.ground_truth must be a task's record as JSON, as python -m tasks.export writes it; "
            f"got {reprlib.repr(ground_truth)}"
        ) from error
