"""The curriculum: what is asked of the model in a step, and what its responses are worth.

`SelfPlay` is the state of Absolute Zero that is not the policy: the buffer, the random generators, the
running means, and the rules that turn a step's results into rewards. It draws requests and settles their
results; how requests reach a model is not its business. `recipe/engine/driver.py` calls it, in this order:

    requests = selfplay.begin_step(step)                    # wave 1
    requests += selfplay.second_wave(requests, results)     # only with azr.solve_on=fresh
    settlement = selfplay.settle(step, requests, results)
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from recipe.selfplay.buffer import TaskBuffer
from recipe.selfplay.config import AzrConfig, KeepTasks, Sampling, TaskSource
from recipe.selfplay.credit import Cells, Origin, RunningMeans, make_uid, name_cell
from recipe.selfplay.plan import StepPlan
from recipe.selfplay.rollout import with_fewer_references
from recipe.selfplay.sampler import TaskSampler
from recipe.selfplay.types import (
    PROPOSAL,
    Attempt,
    LedgerLine,
    Place,
    Priced,
    Proposal,
    Refusal,
    Request,
    Results,
    Settlement,
    share_correct,
)
from rewards.bonus import ANSWER_DIVERSITY, STRUCTURE_DIVERSITY, Combine
from rewards.price import itemize
from rewards.profile import Profile, price_attempt, price_proposal
from tasks.contract import Outcome, Role, TaskPack, TaskRecord

NO_TASK = "none"
"""Difficulty of a proposal that made no task."""

BufferCounts = Mapping[tuple[str, str], Counter[str | None]]
"""By feature of `BUFFER_FEATURES` and kind: how many records of the buffer are alike in it."""


class SelfPlayError(RuntimeError):
    """Self-play cannot go on; the message says why and what to change."""


class SelfPlay:
    """Draws requests and settles results.

    Args:
        running_means: The baselines of rewards, if they are carried from step to step; None where each batch
            decides its own.
        cells: Which responses share a baseline; the ledger names them.
    """

    def __init__(
        self,
        pack: TaskPack,
        profile: Profile,
        config: AzrConfig,
        running_means: RunningMeans | None = None,
        cells: Cells = Cells.ROLE_KIND,
    ) -> None:
        self.pack = pack
        self.config = config
        self.kinds = [spec.name for spec in pack.kinds]
        self.plan = StepPlan.of(config, len(self.kinds))
        self.buffer = TaskBuffer(
            self.kinds, config.buffer_capacity, favours_recent=config.buffer_sampling == Sampling.RECENT
        )
        self._profile = profile
        self._running_means = running_means
        self._cells = cells
        self._num_tasks = {kind: pack.num_tasks(kind) for kind in self.kinds}
        keys = buffer_keys(pack).items()
        self._buffer_keys = {name: key for name, key in keys if name in config.bonus.terms}
        # Whether the pack's own seeds are all that seeding has to go by.
        self._is_untried = self.plan.source is TaskSource.PROPOSALS and config.seeding.max_waves > 0
        self._sampler = TaskSampler(pack, config.tasks) if self.plan.source.is_drawn else None
        # Two owners, two generators: a change in the prices never moves which prompts are drawn.
        self._draw_rng = random.Random(f"{config.seed} draw")
        self._reward_rng = random.Random(f"{config.seed} reward")
        for record in pack.seeds():
            self.buffer.add(record, pack.task_key(record), step=0)
        # The pack's own seeds are none of the model's tasks.
        skips = self.plan.source is TaskSource.BASE_PROPOSALS
        self._num_skipped = {kind: self.buffer.size(kind) if skips else 0 for kind in self.kinds}

    # ------------------------------ what is asked ------------------------------

    def seeding_wave(self) -> list[Request]:
        """Requests for one more wave of seeding; empty when every kind has reached the target, and where the
        pack draws the tasks.

        A pack's own seeds may reach it. A run that will propose goes on until one proposal is accepted, so
        that no step is the first to find out that the model writes no tasks.
        """
        if self._sampler is not None:
            return []
        # Without attempts there would be no whole record to put into the buffer.
        num_attempts = self.config.attempts_per_record if self.pack.resolves else 0
        target = self.config.seeding.target
        assert target is not None  # it is filled in before the run
        kinds = [kind for kind in self.kinds if self.buffer.size(kind) < target + self._num_skipped[kind]]
        if self._is_untried:
            kinds = kinds or self.kinds
        return self._propose_requests(kinds, self.config.proposals_per_kind, num_attempts, step=0)

    def begin_step(self, step: int) -> list[Request]:
        """Draw the requests of `step` that depend on nothing in it."""
        requests = self._propose_requests(self.kinds, self.plan.asked, self.plan.attempts, step)
        if self.plan.has_second_wave:
            return requests
        for kind in self.kinds:
            requests += self._solve_requests(len(requests), kind, self._first_tasks(kind, step))
        return requests

    def _first_tasks(self, kind: str, step: int) -> list[TaskRecord]:
        """Tasks that a step's solve requests are for before those of the buffer."""
        count = self.plan.solve_tasks
        if self._sampler is not None:
            return self._sampler.draw(kind, count, self.buffer.keys(), self._draw_rng)
        if self.plan.source is TaskSource.BASE_PROPOSALS:
            # In the order that the model proposed them, each in one step
            first = self._num_skipped[kind] + (step - 1) * count
            return self.buffer.records(kind)[first : first + count]
        return self.buffer.added_at(kind, step - 1) if self.plan.solves_step_before else []

    def second_wave(self, requests: Sequence[Request], results: Results) -> list[Request]:
        """With `azr.solve_on=fresh`: solve requests for the records that the first wave's proposals made."""
        if not self.plan.has_second_wave:
            return []
        wave: list[Request] = []
        for kind in self.kinds:
            made = [
                proposal.record
                for request in requests
                if request.kind == kind and isinstance(proposal := results.get(request.index), Proposal)
                if proposal.record is not None
            ]
            wave += self._solve_requests(len(requests) + len(wave), kind, made)
        return wave

    def _propose_requests(
        self, kinds: Sequence[str], per_kind: int, num_attempts: int, step: int
    ) -> list[Request]:
        requests = []
        for index, kind in enumerate(kind for kind in kinds for _ in range(per_kind)):
            spec = self.pack.spec(kind)
            references = tuple(self.buffer.sample(spec.reference_kinds, spec.num_references, self._draw_rng))
            messages = self.pack.propose_prompt(kind, references, self._draw_rng, step=step)
            request = Request(index, Role.PROPOSE, kind, messages, references, None, num_attempts, step)
            requests.append(request)
        return requests

    def _solve_requests(self, first_index: int, kind: str, new: Sequence[TaskRecord]) -> list[Request]:
        """A step's solve requests of one kind: for `new` records first, topped up from the buffer."""
        count = self.plan.solve_tasks
        records = self._draw_rng.sample(list(new), min(count, len(new)))
        # The buffer may hold the new ones as well: a task can be drawn twice, as in the paper.
        records += self.buffer.sample([kind], count - len(records), self._draw_rng)
        tasks = [(record, self.pack.solve_prompt(record)) for record in records]
        asked = (task for task in tasks for _ in range(self.plan.requests_per_task))
        return [Request.solve(index, *task) for index, task in enumerate(asked, first_index)]

    # ------------------------------ what it is worth ------------------------------

    def settle(self, step: int, requests: Sequence[Request], results: Results) -> Settlement:
        """Price a step's results, move accepted records into the buffer, and write it all down.

        Step 0 is a wave of seeding, of which nothing is priced.

        Raises:
            SelfPlayError: More than `azr.failures.max_share` of the step's responses never came.
        """
        phase = f"step {step}" if step else "seeding"
        settlement = Settlement(self._num_failed(phase, requests, results))
        # All of a step's proposals are priced beside the same records, whatever their order.
        counts = {
            (name, kind): Counter(key(record) for record in self.buffer.records(kind))
            for name, key in (self._buffer_keys.items() if step else ())
            for kind in self.kinds
        }
        seed = self._reward_rng.getrandbits(64)
        groups: dict[str, tuple[str, str]] = {}
        for request in requests:
            # A generator of its own, so that what comes of a request moves no other one's price.
            rng = random.Random(f"{seed} {request.index}")
            match results.get(request.index):
                case Proposal() as proposal:
                    self._settle_proposal(step, request, proposal, counts, rng, settlement)
                case Attempt() as attempt:
                    cell, uid = self._group(request, groups)
                    self._settle_attempt(step, request, 0, attempt, cell, uid, rng, settlement)
        if self._sampler is not None:
            self._learn_from_drawn(step, requests, results)
        if self._running_means is not None:
            priced = settlement.priced.values()
            uids, rewards = [one.uid for one in priced], [one.reward for one in priced]
            settlement.baselines.update(self._running_means.advance(uids, rewards))
        return settlement

    def _learn_from_drawn(self, step: int, requests: Sequence[Request], results: Results) -> None:
        """Keep the tasks that the pack drew, and choose the levels of the next by them."""
        assert self._sampler is not None
        tasks: dict[str, TaskRecord] = {}
        attempts: dict[str, list[Attempt]] = defaultdict(list)
        for request in requests:
            if isinstance(attempt := results.get(request.index), Attempt) and request.record is not None:
                key = self.pack.task_key(request.record)
                tasks[key] = request.record
                attempts[key].append(attempt)
        held = set(self.buffer.keys())
        for key in (key for key in tasks if key not in held):
            self.buffer.add(tasks[key], key, step)
        self._sampler.learn((tasks[key], share_correct(attempts[key])) for key in tasks)

    def _settle_proposal(
        self,
        step: int,
        request: Request,
        proposal: Proposal,
        counts: BufferCounts,
        rng: random.Random,
        into: Settlement,
    ) -> None:
        """Price a proposal, move an accepted record into the buffer, and settle the attempts at it."""
        proposal = replace(proposal, features=self._features(proposal, counts))
        request = with_fewer_references(self.pack, request, proposal.num_dropped)
        into.num_dropped[request.kind] += proposal.num_dropped
        record, solve_rate, reward = proposal.record, proposal.solve_rate, None
        origin = self._origin(request, record)
        # A task without a solve rate has no price: its attempts all failed, or it was valid and not taken
        # (`Refusal.outcome`). The proposal is left out, as if it had not been made.
        is_known = proposal.outcome is not Outcome.CORRECT or solve_rate is not None
        if step and is_known and self.plan.trains_proposals:
            reward = price_proposal(
                self._profile,
                proposal.outcome,
                solve_rate,
                rng,
                () if record is None else itemize(self.config.bonus.terms, proposal.features),
                Combine(self.config.bonus.combine),
                is_duplicate=proposal.reason == Refusal.DUPLICATE,
            )
            into.priced[Place(request.index, PROPOSAL)] = Priced(make_uid(*origin), reward)
        cell = self._cell(origin, request)
        into.ledger.append(LedgerLine.of(step, request, proposal, reward, PROPOSAL, cell))
        if record is None:
            return
        self._is_untried = False
        if self._is_kept(solve_rate):
            self.buffer.add(record, proposal.key, step)
        solve = Request.solve(request.index, record, proposal.messages)
        # One uid for all attempts at a record: to verl's group estimators they are one group.
        origin = self._origin(solve, record)
        group = make_uid(*origin) if step and self.plan.trains_attempts else None
        cell = self._cell(origin, solve)
        for number, attempt in enumerate(proposal.attempts):
            self._settle_attempt(step, solve, number, attempt, cell, group, rng, into)

    def _settle_attempt(
        self,
        step: int,
        request: Request,
        number: int,
        attempt: Attempt,
        cell: str,
        uid: str | None,
        rng: random.Random,
        into: Settlement,
    ) -> None:
        """Write an attempt down; price it if it is trained on, under `uid`."""
        reward = None
        if uid is not None:
            reward = price_attempt(self._profile, attempt.outcome, rng, attempt.measures)
            into.priced[Place(request.index, number)] = Priced(uid, reward)
        into.ledger.append(LedgerLine.of(step, request, attempt, reward, number, cell))

    def _features(self, proposal: Proposal, counts: BufferCounts) -> dict[str, float]:
        """What extra rewards read of an accepted proposal, beside the buffer as it was before this step."""
        record = proposal.record
        if record is None or not self.config.bonus.terms:
            return {}
        alike = {name: found for (name, kind), found in counts.items() if kind == record.kind}
        return dict(proposal.features) | {
            name: 1 - found[self._buffer_keys[name](record)] / max(found.total(), 1)
            for name, found in alike.items()
        }

    def _origin(self, request: Request, record: TaskRecord | None) -> Origin:
        """Where a response to `request` comes from; `record` is the task that it made or attempts."""
        difficulty = NO_TASK if record is None else self.pack.difficulty(record)
        return Origin(request.role, request.kind, difficulty)

    def _group(self, request: Request, groups: dict[str, tuple[str, str]]) -> tuple[str, str]:
        """Cell and uid of the attempt that a solve request is for; attempts at one record share both, where a
        step asks for several. `groups` are those of the step so far, by the task's key."""
        origin = self._origin(request, request.record)
        found = self._cell(origin, request), make_uid(*origin)
        if self.plan.requests_per_task == 1 or request.record is None:
            return found
        return groups.setdefault(self.pack.task_key(request.record), found)

    def _cell(self, origin: Origin, request: Request) -> str:
        """The cell as the ledger names it, where uids, which are random, have no place."""
        return name_cell(origin, self._cells, record=f"{request.role}/{request.kind}/{request.index}")

    def _is_kept(self, solve_rate: float | None) -> bool:
        """Whether a task with this solve rate enters the buffer; without one nothing speaks against it."""
        left_out = {KeepTasks.NON_ONE.value: (1.0,), KeepTasks.NON_EXTREMES.value: (0.0, 1.0)}
        return solve_rate not in left_out.get(self.config.keep_tasks, ())

    def _num_failed(self, phase: str, requests: Sequence[Request], results: Results) -> int:
        """Responses that never came; SelfPlayError if they are too many of those that were asked for."""
        num_failed, num_asked = 0, len(requests)
        for request in requests:
            result = results.get(request.index)
            if result is None:
                num_failed += 1
            elif isinstance(result, Proposal) and result.record is not None:
                num_asked += request.num_attempts
                num_failed += result.num_failed
        limit = self.config.failures.max_share
        if num_failed > limit * num_asked:
            raise SelfPlayError(
                f"{phase}: {num_failed} of {num_asked} responses never came from the inference engine or "
                f"could not be checked, more than azr.failures.max_share={limit} allows; the log says why (a "
                "prompt longer than data.max_prompt_length, a dead engine, a broken check)"
            )
        return num_failed

    def exhausted(self) -> dict[tuple[str, str], float]:
        """By kind and difficulty: share of its tasks that the buffer holds, where their number is known."""
        shares: dict[tuple[str, str], float] = {}
        for kind, totals in self._num_tasks.items():
            held = Counter(map(self.pack.difficulty, self.buffer.records(kind) if totals else ()))
            shares |= {(kind, difficulty): held[difficulty] / total for difficulty, total in totals.items()}
        return shares

    # ------------------------------ the state ------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the next step and is not the policy, as JSON values."""
        return {
            "buffer": self.buffer.state_dict(),
            "draw_rng": self._draw_rng.getstate(),
            "reward_rng": self._reward_rng.getstate(),
            "running_means": {} if self._running_means is None else self._running_means.state_dict(),
            "sampler": {} if self._sampler is None else self._sampler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` left off, which is behind the seeding."""
        self._is_untried = False
        self.buffer.load_state_dict(state["buffer"])
        for rng, saved in ((self._draw_rng, state["draw_rng"]), (self._reward_rng, state["reward_rng"])):
            version, internal, gauss_next = saved
            rng.setstate((version, tuple(internal), gauss_next))  # JSON made a list of it
        if self._running_means is not None:
            self._running_means.load_state_dict(state["running_means"])
        if self._sampler is not None:
            self._sampler.load_state_dict(state.get("sampler", {}))


def buffer_keys(pack: TaskPack) -> dict[str, Callable[[TaskRecord], str | None]]:
    """By feature of `BUFFER_FEATURES`: what has to be the same for two tasks to count as alike."""
    return {ANSWER_DIVERSITY: pack.answer_key, STRUCTURE_DIVERSITY: pack.structure_key}
