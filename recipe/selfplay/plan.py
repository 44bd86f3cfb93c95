"""What a step asks for and trains on, by `azr.solve_on`, `tasks`, `oversample` and `train_proposer`.

Whoever wants to know what follows from these keys asks a `StepPlan`: the curriculum, the agent loops, the
checks before a start, and the estimates of memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from recipe.selfplay.config import AzrConfig, SolveOn, TaskSource


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step. Counts are of one kind of task unless they say otherwise.

    Solve requests are for tasks of `source`; with proposals, for the buffer's behind those that a flag below
    puts first.
    """

    num_kinds: int  # of the pack
    source: TaskSource
    asked: int  # proposals that are asked for; 0 in a run without proposals
    kept: int  # proposals that are attempted and kept at most, the first to be accepted
    attempts: int  # at a proposal that is accepted
    solve_tasks: int  # that solve requests are sent for, beside the attempts at proposals
    requests_per_task: int  # solve requests for each of these tasks
    solves_step_before: bool  # first come the tasks that the buffer took in the step before
    has_second_wave: bool  # first come those accepted in this step, so solve requests wait for its proposals
    trains_proposals: bool
    trains_attempts: bool  # whether attempts at proposals are trained on

    @staticmethod
    def of(azr: AzrConfig, num_kinds: int) -> StepPlan:
        """The plan of every step of a run; ValueError if `azr.solve_on` or `azr.tasks` is no choice."""
        if azr.solve_on not in tuple(SolveOn):
            raise ValueError(f"azr.solve_on must be one of {', '.join(SolveOn)}; got {azr.solve_on!r}")
        if azr.tasks not in tuple(TaskSource):
            raise ValueError(f"azr.tasks must be one of {', '.join(TaskSource)}; got {azr.tasks!r}")
        source, on_attempts = TaskSource(azr.tasks), azr.solve_on == SolveOn.ATTEMPTS
        proposes = source is TaskSource.PROPOSALS
        return StepPlan(
            num_kinds=num_kinds,
            source=source,
            # 10 * 1.1 is a little more than 11 in floating point.
            asked=math.ceil(azr.proposals_per_kind * azr.oversample - 1e-9) if proposes else 0,
            kept=azr.proposals_per_kind if proposes else 0,
            attempts=azr.attempts_per_record,
            # Without proposals: as many attempts as with a full step of them, at tasks of another source.
            solve_tasks=azr.replay_per_kind if on_attempts and proposes else azr.proposals_per_kind,
            requests_per_task=azr.attempts_per_record if on_attempts and not proposes else 1,
            solves_step_before=proposes and azr.solve_on == SolveOn.PREVIOUS,
            has_second_wave=proposes and azr.solve_on == SolveOn.FRESH,
            trains_proposals=proposes and azr.train_proposer,
            trains_attempts=proposes and on_attempts,
        )

    @property
    def prompts(self) -> int:
        """Prompts that one step submits, of all kinds: what verl waits for (`data.train_batch_size`)."""
        return self.num_kinds * (self.asked + self._solve_requests)

    @property
    def responses(self) -> int:
        """Responses of one step, of all kinds, at most."""
        return self.num_kinds * (self.asked + self.kept * self.attempts + self._solve_requests)

    @property
    def rows(self) -> int:
        """Responses that one step trains on, of all kinds, at most."""
        proposals = self.asked if self.trains_proposals else 0
        attempts = self.kept * self.attempts if self.trains_attempts else 0
        return self.num_kinds * (proposals + attempts + self._solve_requests)

    @property
    def has_groups(self) -> bool:
        """Whether what is trained on is several attempts at each record, replayed ones aside."""
        return self.attempts > 1 and (self.trains_attempts or self.requests_per_task > 1)

    @property
    def _solve_requests(self) -> int:
        return self.solve_tasks * self.requests_per_task
