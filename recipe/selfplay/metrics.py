"""Metric names and reductions: the only place that spells `azr/...`.

Names are `azr/<role>/<kind>/<metric>`; `azr/held_out/<group or all>/<metric>` for the evaluation set.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from recipe.selfplay.credit import parse_uid
from recipe.selfplay.intervals import wilson
from recipe.selfplay.types import LedgerLine, Refusal
from tasks.contract import Outcome, Role

ALL_KINDS = "all"
HELD_OUT = "azr/held_out"
FAILED, FAILED_HELD_OUT = "azr/failed_responses", "azr/failed_held_out_items"
ALARM, ALARM_ON = "azr/alarm", "azr/alarm_on"
TRUNCATED = "truncated"
INTERVAL_FIELDS = ("accuracy", "low", "high", "n", "format_rate")

GROUP_MARK = "+"
"""Stands between the groups of a held-out item, which verl knows by one string, its data source."""

ACCEPTANCE_RATE = f"azr/propose/{ALL_KINDS}/acceptance_rate"
SURPLUS_RATE = f"azr/propose/{ALL_KINDS}/reason/{Refusal.SURPLUS}"

# The phases that do a step's work. What is left of a step is what self-play and verl cost on top.
WORK_PHASES = (
    "gen",
    "gen_propose",
    "old_log_prob",
    "ref",
    "values",
    "update_critic",
    "update_actor",
    "update_weights",
)


def step_metrics(lines: Sequence[LedgerLine], kinds: Sequence[str], num_attempts: int) -> dict[str, float]:
    """What a step's ledger says, by role and kind; nothing of a kind of `kinds` without a response.

    The histogram of solve rates has a bin for each of 0 to `num_attempts` right attempts at a record.
    """
    metrics: dict[str, float] = {}
    for kind in kinds:
        proposals = [line for line in lines if line.role is Role.PROPOSE and line.kind == kind]
        attempts = [line for line in lines if line.role is Role.SOLVE and line.kind == kind]
        metrics |= _prefixed(f"azr/propose/{kind}", _proposal_metrics(proposals, num_attempts))
        metrics |= _prefixed(f"azr/solve/{kind}", _common_metrics(attempts, "accuracy"))
    proposals = [line for line in lines if line.role is Role.PROPOSE]
    metrics |= _prefixed(f"azr/propose/{ALL_KINDS}", _common_metrics(proposals, "acceptance_rate"))
    return metrics


def _common_metrics(lines: Sequence[LedgerLine], correct_name: str) -> dict[str, float]:
    if not lines:
        return {}
    metrics = {
        "num_responses": float(len(lines)),
        # Held-out and surplus tasks are valid, and not accepted.
        correct_name: fmean(line.outcome is Outcome.CORRECT and not line.reason for line in lines),
        "format_rate": fmean(line.outcome is not Outcome.MALFORMED for line in lines),
    }
    for reason, count in sorted(Counter(line.reason for line in lines if line.reason).items()):
        metrics[f"reason/{reason}"] = count / len(lines)
    if rewards := [line.reward for line in lines if line.reward is not None]:
        metrics["reward"] = fmean(rewards)
    return metrics


def _proposal_metrics(lines: Sequence[LedgerLine], num_attempts: int) -> dict[str, float]:
    metrics = _common_metrics(lines, "acceptance_rate")
    if not lines:
        return metrics
    metrics["duplicate_rate"] = fmean(line.reason == Refusal.DUPLICATE for line in lines)
    if rates := [line.solve_rate for line in lines if line.solve_rate is not None]:
        metrics["solve_rate"] = fmean(rates)
        # Where attempts failed, the rate of those that came stands for n.
        right = Counter(round(rate * num_attempts) for rate in rates)
        for count in range(num_attempts + 1):
            metrics[f"solve_rate_histogram/{count}_of_{num_attempts}"] = right[count] / len(rates)
    return metrics


def row_means(name: str, uids: Iterable[str], values: Iterable[float]) -> dict[str, float]:
    """Mean over the rows of a batch by role and kind, which their uids spell.

    ValueError if a uid is not from `make_uid`, or if there are not as many values as uids.
    """
    by_metric: dict[str, list[float]] = defaultdict(list)
    for uid, value in zip(uids, values, strict=True):
        origin = parse_uid(uid)
        by_metric[f"azr/{origin.role}/{origin.kind}/{name}"].append(value)
    return {metric: fmean(found) for metric, found in sorted(by_metric.items())}


def buffer_metrics(
    sizes: Mapping[str, int], exhausted: Mapping[tuple[str, str], float] | None = None
) -> dict[str, float]:
    """Records in the buffer by kind, and by kind and difficulty the share of all tasks that they are."""
    shares = {
        f"azr/propose/{kind}/exhausted/{difficulty or ALL_KINDS}": share
        for (kind, difficulty), share in (exhausted or {}).items()
    }
    return {f"azr/propose/{kind}/buffer_size": float(size) for kind, size in sizes.items()} | shares


def prompt_metrics(num_dropped: Counter[str], kinds: Sequence[str]) -> dict[str, float]:
    """References that a step's proposers were not shown, since the prompt had no room for them, by kind."""
    return {f"azr/propose/{kind}/dropped_references": float(num_dropped[kind]) for kind in kinds}


def failure_metrics(num_failed: int) -> dict[str, float]:
    """Responses that never came from the inference engine."""
    return {FAILED: float(num_failed)}


def num_failed_of(numbers: Mapping[str, float]) -> int:
    """The number that `failure_metrics` was given."""
    return int(numbers.get(FAILED, 0))


def alarm_metrics(values: Mapping[str, float], on: Collection[str]) -> dict[str, float]:
    """By alarm: its number, where it can be judged, and whether it is on, where it can be judged or is."""
    names = dict.fromkeys((*values, *on))
    return {f"{ALARM}/{name}": value for name, value in values.items()} | {
        f"{ALARM_ON}/{name}": float(name in on) for name in names
    }


def alarm_values(numbers: Mapping[str, float]) -> dict[str, float]:
    """By alarm: the number that `alarm_metrics` was given."""
    prefix = f"{ALARM}/"
    return {name.removeprefix(prefix): numbers[name] for name in numbers if name.startswith(prefix)}


def alarms_on(line: Mapping[str, Any]) -> list[str]:
    """The alarms that are on, in a line of metrics."""
    prefix = f"{ALARM_ON}/"
    return [name.removeprefix(prefix) for name, value in line.items() if name.startswith(prefix) and value]


def structure_metrics(counts: Mapping[str, int]) -> dict[str, float]:
    """Different structures of all tasks that the run has accepted so far, by kind."""
    return {f"azr/propose/{kind}/structures": float(count) for kind, count in counts.items()}


def exhausted_of(numbers: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """By kind and difficulty: the shares that `buffer_metrics` was given."""
    found = {}
    for name, value in numbers.items():
        if (match := re.fullmatch("azr/propose/([^/]+)/exhausted/([^/]+)", name)) is not None:
            found[match[1], "" if match[2] == ALL_KINDS else match[2]] = value
    return found


def truncated_of(numbers: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """By role and kind: the share of trained responses that used all of their tokens."""
    matches = ((re.fullmatch(f"azr/([^/]+)/([^/]+)/{TRUNCATED}", name), numbers[name]) for name in numbers)
    return {(match[1], match[2]): value for match, value in matches if match is not None}


def failed_held_out_of(numbers: Mapping[str, float]) -> tuple[float, float]:
    """Held-out items that got no response, and all that were asked; zeros where there was no evaluation."""
    failed = numbers.get(FAILED_HELD_OUT, 0.0)
    return failed, failed + numbers.get(f"{HELD_OUT}/{ALL_KINDS}/n", 0.0)


def time_metrics(timing_s: Mapping[str, float], waited_s: float) -> dict[str, float]:
    """Where a step's time went.

    Args:
        timing_s: verl's timers, in seconds; `step` is the whole of it, without validation.
        waited_s: Seconds in which an agent-loop worker waited for checks alone, the mean of the workers.

    Returns:
        `azr/time/overhead_share`: share of the step, checkpoints aside, outside of the work phases.
        `azr/time/check_s` and `azr/time/check_share`: what checks cost beyond generation, and its share.
    """
    whole = timing_s["step"] - timing_s.get("save_checkpoint", 0.0)
    work = sum(timing_s.get(phase, 0.0) for phase in WORK_PHASES)
    return {
        "azr/time/overhead_share": (whole - work) / whole,
        "azr/time/check_s": waited_s,
        "azr/time/check_share": waited_s / whole,
    }


def held_out_metrics(
    groups: Sequence[str],
    correct: Sequence[float],
    well_formed: Sequence[float],
    num_failed: int = 0,
    sampled: Sequence[float] = (),
    num_samples: int = 0,
) -> dict[str, float]:
    """Accuracy on the held-out set with its 95 % Wilson interval, by group and in all.

    Args:
        groups: Groups of each item, joined by `GROUP_MARK`: its kind, unless the pack has others.
        correct: 1.0 where the item was solved, else 0.0.
        well_formed: 1.0 where the answer fitted the grammar, else 0.0.
        num_failed: Items that got no response: left out above, and reported.
        sampled: Share of right ones among the item's sampled attempts; empty where there were none.
        num_samples: Sampled attempts at each item, the k of mean@k.
    """
    metrics: dict[str, float] = {FAILED_HELD_OUT: float(num_failed)}
    groups_of = [{ALL_KINDS, *joined.split(GROUP_MARK)} for joined in groups]
    for name in (ALL_KINDS, *sorted(set().union(*groups_of) - {ALL_KINDS})):
        chosen = [i for i, found in enumerate(groups_of) if name in found]
        num_correct, num_items = sum(correct[i] == 1.0 for i in chosen), len(chosen)
        format_rate = fmean(well_formed[i] for i in chosen)
        values = (num_correct / num_items, *wilson(num_correct, num_items), float(num_items), format_rate)
        numbers = dict(zip(INTERVAL_FIELDS, values, strict=True))
        if num_samples:
            numbers[f"mean_at_{num_samples}"] = fmean(sampled[i] for i in chosen)
        metrics |= _prefixed(f"{HELD_OUT}/{name}", numbers)
    return metrics


def _prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


def in_order(groups: Iterable[str]) -> list[str]:
    """Names of groups sorted, numbers in them by value: level-9 comes before level-10."""
    return sorted(groups, key=lambda name: re.sub(r"\d+", lambda number: number[0].zfill(9), name))


def held_out_of(line: Mapping[str, Any]) -> dict[str, Any] | None:
    """The held-out result in a line of metrics; None if the step was not validated.

    Returns:
        `accuracy`, `low`, `high`, `n` and `format_rate` in all, and the same `by_kind`; with
        `azr.held_out_samples=k` there is `mean_at_k` as well.
    """
    by_kind: dict[str, dict[str, float]] = {}
    for name, value in line.items():
        if name.startswith(f"{HELD_OUT}/"):
            kind, field = name.removeprefix(f"{HELD_OUT}/").split("/")
            by_kind.setdefault(kind, {})[field] = value
    if not by_kind:
        return None
    ordered = {
        kind: {name: found[name] for name in (*INTERVAL_FIELDS, *sorted(found.keys() - {*INTERVAL_FIELDS}))}
        for kind, found in by_kind.items()
    }
    for found in ordered.values():
        found["n"] = int(found["n"])
    return {**ordered.pop(ALL_KINDS), "by_kind": dict(sorted(ordered.items()))}


def steady_accuracy(found: Mapping[str, Any]) -> float:
    """Of a result of `held_out_of`: mean@k where there were samples, else the greedy accuracy."""
    sampled = [value for name, value in found.items() if name.startswith("mean_at_")]
    return float(sampled[0] if sampled else found["accuracy"])


def accuracy_by_step(lines: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Held-out accuracy after each step that was evaluated; 0 is before training."""
    return {line["step"]: found["accuracy"] for line in lines if (found := held_out_of(line)) is not None}


def status(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What stands beside the bar: held-out accuracy, and of the last step what it accepted, and alarms."""
    shown: dict[str, str] = {}
    if held_out := [found for line in lines if (found := held_out_of(line)) is not None]:
        shown["held-out"] = f"{held_out[-1]['accuracy']:.1%}"
    if (accepted := lines[-1].get(ACCEPTANCE_RATE)) is not None:
        shown["accepted"] = f"{accepted:.0%}"
    if surplus := lines[-1].get(SURPLUS_RATE):
        shown["surplus"] = f"{surplus:.0%}"
    if on := alarms_on(lines[-1]):
        shown["alarms"] = ",".join(on)
    return shown
