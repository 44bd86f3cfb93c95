"""The curriculum: what is asked of the model in a step, and what its responses are worth.

`SelfPlay` is the state of Absolute Zero that is not the policy: the buffer, the random generators, and the
rules that turn a step's facts into rewards. It draws requests, and settles their results; how the requests
reach a model is not its business. In training they travel through verl's agent loops; in unit tests a
scripted model answers them in the same process.

    requests = selfplay.begin_step(step)           # wave 1
    requests += selfplay.second_wave(proposals)    # only with azr.solve_on=fresh
    settlement = selfplay.settle(step, requests, results)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipe.selfplay.buffer import TaskBuffer
from recipe.selfplay.config import AzrConfig, KeepTasks, Sampling
from recipe.selfplay.ledger import LedgerLine
from recipe.selfplay.plan import SolveFirst, StepPlan
from recipe.selfplay.rollout import Attempt, Proposal, Request
from recipe.selfplay.uid import make_uid
from rewards.bonus import ANSWER_DIVERSITY, STRUCTURE_DIVERSITY, Combine, Term, price_terms
from rewards.profile import RewardProfile, price_attempt, price_proposal
from tasks.contract import Outcome, Role, TaskPack, TaskRecord

Results = Mapping[int, Proposal | Attempt]
"""Results by request index. A request without one has failed: it is left out and counted."""

PROPOSAL = -1
"""Stands for the proposal itself where an attempt's number is asked."""

NO_TASK = "none"
"""Difficulty of a proposal that made no task."""


class SelfPlayError(RuntimeError):
    """Self-play cannot go on; the message says why and what to change."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What the trainer needs to train on one response.

    Attributes:
        uid: Carries role, kind and difficulty to the estimator.
        reward: Scalar.
    """

    uid: str
    reward: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settled step.

    Attributes:
        priced: The responses to train on, by (request index, attempt number or `PROPOSAL`).
        ledger: One line a response, in the order of requests and attempts.
        num_failed: Responses that never came.
    """

    priced: dict[tuple[int, int], Priced]
    ledger: list[LedgerLine]
    num_failed: int


class SelfPlay:
    """Draws requests and settles results.

    Args:
        pack: The domain.
        profile: Prices of outcomes.
        config: Sizes and rules.
    """

    def __init__(self, pack: TaskPack, profile: RewardProfile, config: AzrConfig) -> None:
        self._pack = pack
        self._profile = profile
        self._config = config
        self._kinds = [spec.name for spec in pack.kinds]
        self.plan = StepPlan.of(config, len(self._kinds))
        self.buffer = TaskBuffer(
            self._kinds, config.buffer_capacity, favours_recent=config.buffer_sampling == Sampling.RECENT
        )
        terms = config.bonus.terms.items()
        self._terms = {name: Term(term.coefficient, term.maximum) for name, term in terms}
        self._buffer_keys = {name: key for name, key in buffer_keys(pack).items() if name in self._terms}
        self._counts_of_step: dict[tuple[str, str], Counter[str | None]] = {}
        # Two owners, two generators: a change in the prices never moves which prompts are drawn.
        self._draw_rng = random.Random(f"{config.seed} draw")
        self._reward_rng = random.Random(f"{config.seed} reward")
        for record in pack.seeds():
            self.buffer.add(record, pack.task_key(record), step=0)

    def seeding_wave(self) -> list[Request]:
        """Requests for one more wave of seeding; empty when every kind has reached the target."""
        requests: list[Request] = []
        # Without attempts there would be no whole record to put into the buffer.
        num_attempts = self._config.attempts_per_record if self._pack.resolves else 0
        for kind in self._kinds:
            if self.buffer.size(kind) < self._config.seeding.target:
                for _ in range(self._config.proposals_per_kind):
                    requests.append(self._propose_request(len(requests), kind, num_attempts, step=0))
        return requests

    def settle_seeding(self, requests: Sequence[Request], results: Results) -> Settlement:
        """Move a seeding wave's accepted records into the buffer, without rewards."""
        lines: list[LedgerLine] = []
        num_failed, num_asked = 0, len(requests)
        for request in requests:
            proposal = results.get(request.index)
            if not isinstance(proposal, Proposal):
                num_failed += 1
                continue
            lines.append(_proposal_line(0, request, proposal, None, dict(proposal.features)))
            if proposal.record is None:
                continue
            num_asked += request.num_attempts
            num_failed += proposal.num_failed
            if self._is_kept(proposal.solve_rate):
                self.buffer.add(proposal.record, proposal.key, step=0)
            solve = _solve_request(request, proposal)
            for number, attempt in enumerate(proposal.attempts):
                lines.append(_attempt_line(0, solve, number, attempt, None))
        self._check_failures("seeding", num_failed, num_asked)
        return Settlement({}, lines, num_failed)

    def begin_step(self, step: int) -> list[Request]:
        """Draw the requests of `step` that depend on nothing in it."""
        requests: list[Request] = []
        for kind in self._kinds:
            for _ in range(self.plan.asked):
                requests.append(self._propose_request(len(requests), kind, self.plan.attempts, step))
        if self.plan.has_second_wave:
            return requests
        for kind in self._kinds:
            takes_new = self.plan.solve_first is SolveFirst.STEP_BEFORE
            first = self.buffer.added_at(kind, step - 1) if takes_new else []
            requests += self._solve_requests(len(requests), kind, first)
        return requests

    def second_wave(self, requests: Sequence[Request], results: Results) -> list[Request]:
        """With `azr.solve_on=fresh`: solve requests for the records that the first wave's proposals made."""
        if not self.plan.has_second_wave:
            return []
        wave: list[Request] = []
        for kind in self._kinds:
            fresh = [
                proposal.record
                for request in requests
                if request.kind == kind and isinstance(proposal := results.get(request.index), Proposal)
                if proposal.record is not None
            ]
            wave += self._solve_requests(len(requests) + len(wave), kind, fresh)
        return wave

    def settle(self, step: int, requests: Sequence[Request], results: Results) -> Settlement:
        """Price a step's results, move accepted records into the buffer, and write it all down.

        Raises:
            SelfPlayError: More than `azr.failures.max_share` of the step's responses never came.
        """
        settlement = Settlement({}, [], 0)
        # All of a step's proposals are priced beside the same records, whatever their order.
        self._counts_of_step = {
            (name, kind): Counter(key(record) for record in self.buffer.records(kind))
            for name, key in self._buffer_keys.items()
            for kind in self._kinds
        }
        num_failed, num_asked = 0, 0
        for request in requests:
            result = results.get(request.index)
            num_asked += 1
            if result is None:
                num_failed += 1
            elif isinstance(result, Proposal):
                num_asked += request.num_attempts if result.record is not None else 0
                num_failed += result.num_failed
                self._settle_proposal(step, request, result, settlement)
            else:
                uid = make_uid(Role.SOLVE, request.kind, self._difficulty(request.record))
                self._settle_attempt(step, request, 0, result, uid, settlement)
        self._check_failures(f"step {step}", num_failed, num_asked)
        return Settlement(settlement.priced, settlement.ledger, num_failed)

    def state_dict(self) -> dict[str, Any]:
        """Everything here that decides the next step, as JSON values."""
        return {
            "buffer": self.buffer.state_dict(),
            "draw_rng": _rng_to_json(self._draw_rng),
            "reward_rng": _rng_to_json(self._reward_rng),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` left off."""
        self.buffer.load_state_dict(state["buffer"])
        _rng_from_json(self._draw_rng, state["draw_rng"])
        _rng_from_json(self._reward_rng, state["reward_rng"])

    def _propose_request(self, index: int, kind: str, num_attempts: int, step: int) -> Request:
        spec = self._pack.spec(kind)
        references = tuple(self.buffer.sample(spec.reference_kinds, spec.num_references, self._draw_rng))
        messages = self._pack.propose_prompt(kind, references, self._draw_rng, step=step)
        return Request(index, Role.PROPOSE, kind, messages, references, None, num_attempts, step)

    def _solve_requests(self, first_index: int, kind: str, fresh: Sequence[TaskRecord]) -> list[Request]:
        """A step's solve requests of one kind: for `fresh` records first, topped up from the buffer."""
        count = self.plan.solve_tasks
        records = self._draw_rng.sample(list(fresh), min(count, len(fresh)))
        # The buffer may hold the fresh ones as well: a task can be drawn twice, as in the paper.
        records += self.buffer.sample([kind], count - len(records), self._draw_rng)
        requests: list[Request] = []
        for record in records:
            messages = self._pack.solve_prompt(record)
            for _ in range(self.plan.requests_per_task):
                index = first_index + len(requests)
                requests.append(Request(index, Role.SOLVE, kind, messages, (), record))
        return requests

    def _settle_proposal(self, step: int, request: Request, proposal: Proposal, into: Settlement) -> None:
        reward = None
        features = self._features(proposal)
        # A task without a solve rate has no price: its attempts all failed, or it came too late to have any.
        # The proposal is left out.
        is_known = proposal.outcome is not Outcome.CORRECT or proposal.solve_rate is not None
        if is_known and self.plan.trains_proposals:
            reward = price_proposal(
                self._profile,
                proposal.outcome,
                proposal.solve_rate,
                self._reward_rng,
                () if proposal.record is None else price_terms(self._terms, features),
                Combine(self._config.bonus.combine),
            )
            uid = make_uid(Role.PROPOSE, request.kind, self._difficulty(proposal.record))
            into.priced[request.index, PROPOSAL] = Priced(uid, reward)
        into.ledger.append(_proposal_line(step, request, proposal, reward, features))
        if proposal.record is None:
            return
        if self._is_kept(proposal.solve_rate):
            self.buffer.add(proposal.record, proposal.key, step)
        solve = _solve_request(request, proposal)
        # One uid for all attempts at a record: to verl's group estimators they are one group.
        uid = make_uid(Role.SOLVE, request.kind, self._difficulty(proposal.record))
        for number, attempt in enumerate(proposal.attempts):
            if self.plan.trains_attempts:
                self._settle_attempt(step, solve, number, attempt, uid, into)
            else:
                into.ledger.append(_attempt_line(step, solve, number, attempt, None))

    def _features(self, proposal: Proposal) -> dict[str, float]:
        """What extra rewards read of an accepted proposal, beside the buffer as it was before this step."""
        if proposal.record is None or not self._terms:
            return {}
        features = dict(proposal.features)
        for name, key in self._buffer_keys.items():
            counts = self._counts_of_step[name, proposal.record.kind]
            features[name] = 1 - counts[key(proposal.record)] / max(counts.total(), 1)
        return features

    def _difficulty(self, record: TaskRecord | None) -> str:
        return NO_TASK if record is None else self._pack.difficulty(record)

    def _is_kept(self, solve_rate: float | None) -> bool:
        """Whether a task with this solve rate enters the buffer; without one nothing speaks against it."""
        match self._config.keep_tasks:
            case KeepTasks.NON_ONE:
                return solve_rate != 1.0
            case KeepTasks.NON_EXTREMES:
                return solve_rate not in (0.0, 1.0)
            case _:
                return True

    def _settle_attempt(
        self, step: int, request: Request, number: int, attempt: Attempt, uid: str, into: Settlement
    ) -> None:
        reward = price_attempt(self._profile, attempt.outcome, self._reward_rng, attempt.measures)
        into.priced[request.index, number] = Priced(uid, reward)
        into.ledger.append(_attempt_line(step, request, number, attempt, reward))

    def _check_failures(self, phase: str, num_failed: int, num_asked: int) -> None:
        limit = self._config.failures.max_share
        if num_failed > limit * num_asked:
            raise SelfPlayError(
                f"{phase}: {num_failed} of {num_asked} responses never came from the inference engine or "
                f"could not be checked, more than azr.failures.max_share={limit} allows; the log says why (a "
                "prompt longer than data.max_prompt_length, a dead engine, a broken check)"
            )


def buffer_keys(pack: TaskPack) -> dict[str, Callable[[TaskRecord], str | None]]:
    """By feature of `BUFFER_FEATURES`: what has to be the same for two tasks to count as alike."""
    return {ANSWER_DIVERSITY: pack.answer_key, STRUCTURE_DIVERSITY: pack.structure_key}


def _solve_request(request: Request, proposal: Proposal) -> Request:
    """What the attempts at an accepted proposal were asked."""
    return Request(request.index, Role.SOLVE, request.kind, proposal.messages, (), proposal.record)


def _proposal_line(
    step: int, request: Request, proposal: Proposal, reward: float | None, features: dict[str, float]
) -> LedgerLine:
    return LedgerLine(
        step=step,
        role=Role.PROPOSE,
        kind=request.kind,
        index=request.index,
        attempt=None,
        prompt=request.messages,
        response=proposal.response.text,
        outcome=proposal.outcome,
        reason=proposal.reason,
        solve_rate=proposal.solve_rate,
        reward=reward,
        record=None if proposal.record is None else dict(proposal.record.payload),
        features=features,
    )


def _attempt_line(
    step: int, request: Request, number: int, attempt: Attempt, reward: float | None
) -> LedgerLine:
    return LedgerLine(
        step=step,
        role=Role.SOLVE,
        kind=request.kind,
        index=request.index,
        attempt=number,
        prompt=request.messages,
        response=attempt.response.text,
        outcome=attempt.outcome,
        reason=attempt.reason,
        solve_rate=None,
        reward=reward,
        record=None if request.record is None else dict(request.record.payload),
        measures=dict(attempt.measures),
    )


def _rng_to_json(rng: random.Random) -> list[Any]:
    version, internal, gauss_next = rng.getstate()
    return [version, list(internal), gauss_next]


def _rng_from_json(rng: random.Random, state: Sequence[Any]) -> None:
    version, internal, gauss_next = state
    rng.setstate((version, tuple(internal), gauss_next))
