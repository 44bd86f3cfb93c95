"""TRR++, task-relative REINFORCE++, as an advantage estimator of verl.

The baseline and the scale of an advantage are taken within a cell, by default all responses of one role and
kind. Importing this module registers the estimator: then `algorithm.adv_estimator=trr_plus_plus` finds it.
`recipe.plugin` imports it wherever verl's own estimators are, so any trainer of verl can use it.

In self-play the uid of a row spells where it comes from (`recipe/selfplay/credit.py`), and with it its cell.
A row of verl's own trainer has a random uid; its cell is what it has in a column of the data set
(`recipe/engine/columns.py`), which it reads from where verl keeps its rows. Nothing is kept between steps:
running means, which self-play owns, reach the estimator through its configuration.

Suffixes of tensors: B responses, T tokens.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est
from verl.utils.torch_functional import masked_whiten

from recipe.engine.columns import cells_by_columns
from recipe.selfplay.credit import Baseline, Cells, Scale, Statistics, cell_of, is_uid, parse_uid
from tasks.contract import Role

ESTIMATOR_NAME = "trr_plus_plus"

DEFAULT_COLUMNS = ("data_source",)
"""The cells of rows of verl's own trainer: a column that every data set of verl has."""

_Choice = TypeVar("_Choice", bound=StrEnum)


def _read_choice(config: DictConfig, key: str, default: _Choice) -> _Choice:
    """The value of `algorithm.<key>`; ValueError naming the key if there is no such choice."""
    choices = type(default)
    value = OmegaConf.select(config, key, default=default)
    if value not in tuple(choices):
        raise ValueError(f"algorithm.{key} must be one of {', '.join(choices)}; got {value!r}")
    return choices(value)


def _read_cells(uids: Sequence[str], config: DictConfig) -> list[str]:
    """The cell of each of (B,) rows with these uids."""
    given, columns = OmegaConf.select(config, "trr.cells"), OmegaConf.select(config, "trr.columns")
    if given is not None and columns is not None:
        raise ValueError(
            "algorithm.trr.cells, which reads self-play's uids, and algorithm.trr.columns, which reads a "
            f"data set, must not both be given; got {given} and {columns}"
        )
    cells = _read_choice(config, "trr.cells", Cells.ROLE_KIND)
    if given is None and columns is None and not any(map(is_uid, uids)):
        columns = DEFAULT_COLUMNS
    if columns is not None and not columns:
        raise ValueError(
            "algorithm.trr.columns must name a column; for one cell of all rows there is "
            "algorithm.trr.cells=global"
        )
    if columns is not None:
        return cells_by_columns(uids, [columns] if isinstance(columns, str) else columns)
    return [cell_of(uid, cells) for uid in uids]


def normalize(scores: torch.Tensor, counted: torch.Tensor, scale: Scale) -> torch.Tensor:
    """A = (S - mean(S)) / sqrt(var(S) + 1e-8), with mean and unbiased variance of a cell's counted scores.

    Counted are the responses of a cell, (B, 1), with their rewards: Absolute Zero
    (https://arxiv.org/abs/2505.03335), Eq. 8. Or they are its valid tokens, (B, T), with their returns:
    REINFORCE++ (https://arxiv.org/abs/2501.03262) restricted to a cell, as the official code of Absolute Zero
    computes it: by verl's `masked_whiten`. `Scale.NONE` leaves the division out. Of no meaning where
    nothing is counted; exactly 0 if all counted scores are equal, so also for a single one, where
    `masked_whiten` raises.
    """
    found = scores[counted]
    # Rounding keeps the mean of equal numbers from being that number, and the division would blow this up.
    if found.min() == found.max():
        return torch.zeros_like(scores)
    if scale is Scale.NONE:
        return scores - found.mean()
    return masked_whiten(scores, counted)


def role_weights(roles: Sequence[Role], proposer_share: float) -> list[float]:
    """What each of N responses counts in the loss, so that proposals are `proposer_share` of it.

    A loss that averages over responses weighs roles by how many each has. With N_r responses of role r and
    s_r its share, each counts s_r * N / N_r: 1 on average, and all of one role s_r * N. Absolute Zero
    (https://arxiv.org/abs/2505.03335) trains on as many proposals as attempts, which makes s 1/2. A role that
    is alone counts as it is.
    """
    counts = Counter(roles)
    if len(counts) < len(Role):
        return [1.0] * len(roles)
    shares = {Role.PROPOSE: proposer_share, Role.SOLVE: 1 - proposer_share}
    return [shares[role] * len(roles) / counts[role] for role in roles]


# verl refuses a second function under a registered name. Reloading this module makes a new function.
if ESTIMATOR_NAME in ADV_ESTIMATOR_REGISTRY and ADV_ESTIMATOR_REGISTRY[ESTIMATOR_NAME].__module__ == __name__:
    del ADV_ESTIMATOR_REGISTRY[ESTIMATOR_NAME]


@register_adv_est(ESTIMATOR_NAME)  # type: ignore[untyped-decorator]
@torch.no_grad()  # type: ignore[untyped-decorator]
def trr_plus_plus(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: Sequence[str],
    config: DictConfig,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages whose baseline and scale are taken within each cell of the batch.

    Rows without a valid token enter no statistic. verl appends such rows to fill up a batch, under uids of
    its own, which are not read.

    Args:
        token_level_rewards: (B, T) rewards of tokens.
        response_mask: (B, T) 1 at tokens of the response that are trained on, else 0.
        index: (B,) uids: from `make_uid`, or verl's own.
        config: verl's `algorithm` node. Read are `trr.cells` (a `Cells`, default role-kind) or, for uids of
            verl's own, `trr.columns` (columns of the data set that make a cell, default data_source);
            `trr.baseline` (a `Baseline`, default cell-mean), `trr.scale` (a `Scale`, default std),
            `trr.statistics` (a `Statistics`, default sequence), `trr.proposer_share` (what proposals count
            in the loss by `role_weights`, default by their number) and `gamma`, which must be 1; with
            baseline=running-mean also `trr.running_means`, the baseline of every cell of the batch by its
            name, which self-play's trainer gives.
        **_: What verl passes to other estimators, such as `reward_baselines`.

    Returns:
        advantages: (B, T), 0 at masked tokens.
        returns: (B, T), undiscounted returns to go, 0 at masked tokens.

    Raises:
        ValueError: An unknown value in `config`, a gamma other than 1, a running mean with a scale or without
            means, shapes that do not fit each other; on a row with valid tokens a uid that is not from
            `make_uid`, if `trr.cells` is given, or else a column that is not there.
    """
    statistics = _read_choice(config, "trr.statistics", Statistics.SEQUENCE)
    scale = _read_choice(config, "trr.scale", Scale.STD)
    # The baselines that self-play carries over, by cell; None where the batch decides them.
    running_means: Mapping[str, float] | None = None
    if _read_choice(config, "trr.baseline", Baseline.CELL_MEAN) is Baseline.RUNNING_MEAN:
        if scale is not Scale.NONE:
            raise ValueError(f"algorithm.trr.scale must be none with baseline=running-mean; got {scale}")
        running_means = OmegaConf.select(config, "trr.running_means")
        if running_means is None:
            raise ValueError(
                "algorithm.trr.baseline=running-mean needs means that are carried from step to step, as only "
                "self-play's trainer does; give cell-mean"
            )
    gamma = OmegaConf.select(config, "gamma", default=1.0)
    if gamma != 1.0:
        raise ValueError(f"algorithm.gamma must be 1 for {ESTIMATOR_NAME}; got {gamma!r}")
    if token_level_rewards.shape != response_mask.shape or len(index) != len(response_mask):
        raise ValueError(
            "token_level_rewards, response_mask and index must agree on (B, T), (B, T) and (B,); got "
            f"{tuple(token_level_rewards.shape)}, {tuple(response_mask.shape)} and ({len(index)},)"
        )

    mask_BT = response_mask.bool()
    valid_BT = torch.where(mask_BT, token_level_rewards, 0.0)
    returns_BT = torch.where(mask_BT, valid_BT.flip(-1).cumsum(-1).flip(-1), 0.0)
    scores, counted = returns_BT, mask_BT
    if statistics is Statistics.SEQUENCE:
        # Summed in double precision, so that the order of a row's rewards makes no two equal sums differ.
        scores, counted = valid_BT.double().sum(-1, keepdim=True), mask_BT.any(-1, keepdim=True)
    rows_by_cell: dict[str, list[int]] = defaultdict(list)
    counting = mask_BT.any(-1).nonzero().flatten().tolist()
    uids = [index[row] for row in counting]
    for row, cell in zip(counting, _read_cells(uids, config), strict=True):
        rows_by_cell[cell].append(row)
    advantages_BT = torch.zeros_like(token_level_rewards)
    for cell, rows in rows_by_cell.items():
        if running_means is None:
            of_cell = normalize(scores[rows], counted[rows], scale)
        else:
            of_cell = scores[rows] - running_means[cell]
        advantages_BT[rows] = torch.where(mask_BT[rows], of_cell.to(advantages_BT.dtype), 0.0)
    share = OmegaConf.select(config, "trr.proposer_share")
    if share is not None:
        weights = role_weights([parse_uid(uid).role for uid in uids], share)
        advantages_BT[counting] *= torch.tensor(weights).to(advantages_BT).unsqueeze(-1)
    return advantages_BT, returns_BT
