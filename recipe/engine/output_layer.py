"""Keep a model's output layer with its root under FSDP2, which verl's fused log-probabilities read it from.

They take the weights of the output layer without calling it (`use_fused_kernels`). verl 0.9.1 gives that
layer an FSDP2 unit of its own unless it is the embedding, and a unit is gathered when its layer is called:
they would find a shard, and stop. With the root it is gathered for the whole pass (verl's pull request 7427).

With `actor_rollout_ref.model.external_lib=recipe.engine.output_layer` verl imports this module in every
process that reads the model's configuration.
"""

from __future__ import annotations

from typing import Any

import wrapt


@wrapt.when_imported("verl.utils.fsdp_utils")
def keep_output_layer_with_root(fsdp_utils: Any) -> None:
    """Take the output layer from what verl shards module by module; AttributeError if verl has changed."""
    select = fsdp_utils._select_fsdp2_wrap_targets

    def without_output_layer(model: Any, layers: list[str]) -> list[Any]:
        output_layer = model.get_output_embeddings()
        return [module for module in select(model, layers) if module is not output_layer]

    fsdp_utils._select_fsdp2_wrap_targets = without_output_layer
