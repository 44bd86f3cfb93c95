"""The pack, and what the configuration asks of it."""

from __future__ import annotations

from collections.abc import Iterator

from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.selfplay.credit import Cells
from recipe.selfplay.curriculum import buffer_keys
from rewards.profile import load_profile, missing_measure
from rewards.propose import find_shape


@rule()
def pack(setup: Setup) -> Iterator[str]:
    """Its seeds differ from each other and from what is held out; a vote takes two; it knows difficulty."""
    pack = setup.pack
    seeds = [pack.task_key(record) for record in pack.seeds()]
    if twice := len(seeds) - len(set(seeds)):
        yield f"the seeds of the pack {pack.name} must differ from each other; {twice} do not"
    if shared := {pack.task_key(record) for record in pack.held_out()}.intersection(seeds):
        yield f"the pack {pack.name} must hold out no seed; {len(shared)} are, such as {shared}"[:300]

    attempts = setup.config.azr.attempts_per_record
    if attempts < 2 and pack.resolves:
        reason = f"with the pack {pack.name}, whose tasks the attempts at them resolve"
        yield f"azr.attempts_per_record must be at least 2 {reason}; got {attempts}"
    cells = setup.config.algorithm.trr.cells
    if cells == Cells.ROLE_DIFFICULTY and not all(pack.difficulty(seed) for seed in pack.seeds()):
        yield f"algorithm.trr.cells={cells} needs a pack that says how hard tasks are; {pack.name} does not"


@rule()
def batch_size(setup: Setup) -> Iterator[str]:
    """What a step asks follows from `azr.*` and the number of kinds."""
    given, kinds = setup.config.data.train_batch_size, len(setup.pack.kinds)
    prompts = setup.plan.prompts
    if given not in (None, prompts):
        follows = f"azr.* and the pack's {kinds} kinds make {prompts} prompts a step"
        yield f"data.train_batch_size must be left alone: {follows}; got {given}"


@rule()
def evaluated(setup: Setup) -> Iterator[str]:
    """The held-out tasks are those of the pack that is trained on, and asked as `azr.elicit` says."""
    data, config = setup.config.data, setup.config
    for key, of in {"azr_pack": config.pack, "azr_examples": config.azr.elicit.examples}.items():
        if data[key] != of:
            name = "pack" if key == "azr_pack" else "azr.elicit.examples"
            yield f"data.{key} must be left alone: it is what {name} is; got another"


@rule()
def reward_profile(setup: Setup) -> Iterator[str]:
    """There is such a profile, and the pack measures what it grades by."""
    config, pack = setup.config, setup.pack
    profile = load_profile(config.reward_profile, find_shape(**config.azr.learnability))
    if measure := missing_measure(profile, pack.measure_names):
        yield (
            f"reward_profile={config.reward_profile} grades wrong attempts by {measure}, which the "
            f"pack {pack.name} does not measure (it has {', '.join(pack.measure_names) or 'none'})"
        )


@rule()
def bonus_terms(setup: Setup) -> Iterator[str]:
    """Extra rewards are for what the pack, or the buffer, measures of a proposal."""
    pack = setup.pack
    of_seeds = {name: [key(seed) for seed in pack.seeds()] for name, key in buffer_keys(pack).items()}
    known = [*pack.feature_names, *(name for name, found in of_seeds.items() if None not in found)]
    for name in setup.config.azr.bonus.terms:
        if name not in known:
            has = ", ".join(known) or "none"
            yield f"azr.bonus.terms.{name} is no feature of the pack {pack.name}; it has {has}"
