"""What `import verl` loads of this recipe, in every process: target of the entry point `verl.plugins: azr`.

The driver, every Ray worker and every vLLM server import this module, and so does everybody else who uses
verl in the same environment. So it loads nothing by itself. Where verl's own estimators get loaded, TRR++
joins them, which makes `algorithm.adv_estimator=trr_plus_plus` known to any trainer of verl. Where weights
go to vLLM, those of runs on one machine are kept apart. A server of vLLM learns to answer several requests
at once. And under VERL_PLATFORM=cpu the CPU platform is installed.

verl loads the group after its own `verl.protocol` and `verl.utils.device` and before anything asks for the
platform; no other part of verl may be counted on at that moment.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import wrapt


def _register_estimator(core_algos: ModuleType) -> None:
    # By its import alone: it may be under way already, and then it is what brought `core_algos` in.
    importlib.import_module("recipe.engine.estimator")


def _keep_weights_apart(transfer: ModuleType) -> None:
    importlib.import_module("recipe.engine.weight_sockets").keep_apart(transfer)


def _extend_server(servers: ModuleType) -> None:
    importlib.import_module("recipe.engine.server").extend_server(servers)


wrapt.register_post_import_hook(_register_estimator, "verl.trainer.ppo.core_algos")
wrapt.register_post_import_hook(
    _keep_weights_apart, "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"
)
wrapt.register_post_import_hook(_extend_server, "verl.workers.rollout.vllm_rollout.vllm_async_server")

if os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu":
    from recipe.cpu.install import install

    install()
