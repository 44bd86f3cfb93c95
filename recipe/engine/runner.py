"""The process that trains: a Ray actor that builds verl's pieces around `AzrTrainer` and runs them.

verl's `TaskRunnerV1` is a Ray actor class already and cannot be subclassed, so this is its `run` with our
trainer in the trainer's place. Written for verl 0.9.1.
"""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from recipe.run.files import logger_folders, mlflow_store


class AzrTaskRunner:
    """Passed to verl's `run_ppo`, which starts it as an actor and calls `run`."""

    def run(self, config: DictConfig) -> None:
        """Train as `config` says."""
        os.environ.update(logger_folders(Path(config.run.dir)))
        if "MLFLOW_TRACKING_URI" not in os.environ:  # a server, or a database of somebody's
            os.environ.update(mlflow_store(Path(config.run.dir)))
        import transfer_queue as tq
        from verl.utils.logging_utils import configure_verl_logging

        from recipe.engine.agent_loop import SelfPlayLoops
        from recipe.engine.trainer import AzrTrainer

        configure_verl_logging()
        config.transfer_queue.enable = True
        OmegaConf.resolve(config)
        tq.init(config.transfer_queue)
        try:
            trainer = AzrTrainer(config)
            trainer.init()
            agent_loops = SelfPlayLoops.create(
                config=config,
                llm_client=trainer.get_llm_client(),
                teacher_client=trainer.get_teacher_client(),
                reward_loop_worker_handles=trainer.get_reward_handles(),
            )
            trainer.fit(agent_loops)
            trainer.logger.finish()
        finally:
            tq.close()
